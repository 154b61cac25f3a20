"""Small pictures for the page: every different one once, as a JPEG data URI."""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vlm2vec_cli.errors import UserError
from vlm2vec_cli.media import MediaReader

SIDE = 96
QUALITY = 78
FRAMES = 3
"""Frames that a video is shown by."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture of at most 96 x 96 pixels; `key` is its name in the page."""

    key: str
    uri: str
    width: int
    height: int


class Thumbnails:
    """Makes thumbnails and keeps each different one; what cannot be opened is counted, with its reason."""

    def __init__(self, reader: MediaReader, media_root: Path | None) -> None:
        self.reader = reader
        self.media_root = media_root
        self.made: dict[str, Thumbnail] = {}
        self.failures: dict[str, str] = {}
        self._known: dict[tuple[str, str], list[Thumbnail]] = {}

    def of(self, content: Mapping[str, Any]) -> list[Thumbnail]:
        """The pictures of a content, in its order, then the first frames of its video."""
        root = self.media_root or Path(content.get("media_root") or ".")
        found: list[Thumbnail] = []
        for reference in _references(content.get("image")):
            found += self._kept(("image", reference), [reference], root)
        frames = _references(content.get("video"))
        if frames:
            found += self._kept(("video", "\n".join(frames)), frames, root)
        return found

    def missing(self, content: Mapping[str, Any]) -> list[str]:
        """References of a content that could not be opened."""
        references = [*_references(content.get("image")), *_references(content.get("video"))[:1]]
        return [reference for reference in references if reference in self.failures]

    def _kept(self, name: tuple[str, str], references: Sequence[str], root: Path) -> list[Thumbnail]:
        known = (f"{name[0]} {root}", name[1])
        if known not in self._known:
            try:
                self._known[known] = [
                    self._made(picture) for picture in self._pictures(name[0], references, root)
                ]
            except UserError as error:
                self.failures[references[0]] = str(error)
                self._known[known] = []
        return self._known[known]

    def _pictures(self, kind: str, references: Sequence[str], root: Path) -> list[Image.Image]:
        if kind == "image":
            return [self.reader.image(references[0], root)]
        video = references[0] if len(references) == 1 else list(references)
        return self.reader.frames(video, root, num_frames=FRAMES)

    def _made(self, picture: Image.Image) -> Thumbnail:
        small = picture.convert("RGB")
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
        data = buffer.getvalue()
        key = f"p{hashlib.sha256(data).hexdigest()[:12]}"
        uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        return self.made.setdefault(key, Thumbnail(key, uri, *small.size))


def _references(value: str | Sequence[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
