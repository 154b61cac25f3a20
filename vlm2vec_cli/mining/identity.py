"""When two contents are the same: the same text, and the same pictures and videos.

Text is compared in NFC with runs of white space as one blank and none at the ends; media by their bytes, or
by their references as written. On the side of targets an instruction makes no difference: the same picture
asked for in other words is the same picture. Nor does how many frames the model sees of a video.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from vlm2vec_cli.errors import UserError
from vlm2vec_cli.schemas import media_ref
from vlm2vec_cli.schemas.content import NAMES

SEEN = (*NAMES, "num_frames")
"""The fields of a side that decide its vector."""

Content = Mapping[str, Any]
Identify = Callable[[str, Path], str]

BY_REFERENCE_HINT = "--media-identity reference compares media by their references, without opening them"


def normal_text(text: str) -> str:
    """`text` in NFC, white space collapsed.

    >>> normal_text(" on   top ")
    'on top'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def only_content(row: Content) -> dict[str, Any]:
    """The fields of a row or side that decide its vector, and no other."""
    return {name: row[name] for name in SEEN if name in row}


def literal_key(content: Content) -> bytes:
    """Equal for contents whose `SEEN` fields are equal as written (16 bytes)."""
    return _digest([content.get(name) for name in SEEN])


def is_relative(content: Content) -> bool:
    """Whether some reference of the content depends on the media root."""
    return any(
        media_ref.parse(one).scheme == "path" and not one.startswith("/") for one in references(content)
    )


def references(content: Content) -> list[str]:
    """All references of a content, pictures first."""
    found: list[str] = []
    for name in ("image", "video"):
        value = content.get(name, [])
        found += [value] if isinstance(value, str) else value
    return found


def documents(row: Content, root: str) -> list[str]:
    """The documents a target is part of: the files of its pages and windows, with `root` where relative.

    >>> documents({"image": ["a.pdf#page=2", "b.png"]}, "/media")
    ['/media\\na.pdf']
    """
    found: dict[str, None] = {}
    for one in references(row):
        parsed = media_ref.parse(one)
        if parsed.page is not None or parsed.window is not None:
            name = one.rpartition("#")[0]
            own = parsed.scheme == "path" and not one.startswith("/")
            found[f"{root}\n{name}" if own else name] = None
    return list(found)


class Identity:
    """Keys (16 bytes) that are equal for the same content; `identify` names a medium by its bytes."""

    def __init__(self, identify: Identify | None) -> None:
        self._identify = identify

    def target(self, content: Content, root: Path) -> bytes:
        """The key of a target. Raises the reader's errors, without place, for media that cannot be read."""
        return _digest(self._facts(content, root))

    def query(self, content: Content, root: Path) -> bytes:
        """The key of a query: there the instruction counts."""
        return _digest([*self._facts(content, root), normal_text(content.get("instruction", ""))])

    def label(self, label: str) -> bytes:
        """The key of the target that is this label."""
        return _digest([normal_text(label), [], []])

    def beside_pictures(self, content: Content, root: Path) -> bytes:
        """The key of what a target holds beside its pictures, and of their number."""
        text, pictures, videos = self._facts(content, root)
        return _digest([text, len(pictures), videos])

    def _facts(self, content: Content, root: Path) -> list[Any]:
        text = normal_text(content.get("text", ""))
        return [text, self._media(content.get("image"), root), self._media(content.get("video"), root)]

    def _media(self, value: Any, root: Path) -> list[str]:
        listed = [value] if isinstance(value, str) else value or []
        if self._identify is None:
            return list(listed)
        try:
            return [self._identify(one, root) for one in listed]
        except UserError as error:
            raise type(error)(error.fact, hint=error.hint or BY_REFERENCE_HINT) from error


def _digest(facts: Any) -> bytes:
    return hashlib.blake2b(orjson.dumps(facts), digest_size=16).digest()
