"""Media references: the strings in rows that say where a picture, page or clip lies.

    dir/a.jpg                     a file
    frames_dir/                   a folder of frames, which is a video
    images.zip!a/b.jpg            a member of a zip or tar archive; `frames.tar!v1/` is a folder in one
    corpus.parquet!image[17]      column and row of a Parquet file, counted from 0; `image[17][2]` in a list
    paper.pdf#page=3              a page, counted from 1; also behind an archive: `papers.zip!a.pdf#page=3`
    clip.mp4#t=2.5,7              a window in seconds, the end not included; either side may be left out
    data:image/png;base64,...     the bytes themselves
    quickstart:PATH               PATH in the data that ships with the package
    https://...                   recognised here; whether it is fetched is the reader's policy

`parse` looks at the string alone. A name with `!` or `#` in it can be read in two ways; `is_file` tells what
exists, and an existing file of exactly that name wins.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from vlm2vec_cli.errors import DataError

Container = Literal["zip", "tar", "compressed-tar", "parquet"]

QUICKSTART = "quickstart:"
SHOWN_CHARACTERS = 120
CONTAINER_SUFFIXES: dict[str, Container] = {
    ".zip": "zip",
    ".tar": "tar",
    ".parquet": "parquet",
    **dict.fromkeys(
        (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst"), "compressed-tar"
    ),
}

_PAGE = re.compile(r"^(?P<path>.+)#page=(?P<page>-?[0-9]{1,9})$", re.DOTALL)
_WINDOW = re.compile(
    r"^(?P<path>.+)#t=(?P<start>[0-9]+(?:\.[0-9]*)?)?(?P<comma>,(?P<end>[0-9]+(?:\.[0-9]*)?)?)?$", re.DOTALL
)
_CELL = re.compile(r"^(?P<column>.+?)\[(?P<row>[0-9]{1,18})\](?:\[(?P<element>[0-9]{1,9})\])?$", re.DOTALL)
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Cell:
    """A place in a Parquet file. `row` and `element` count from 0; `element` is for list columns."""

    column: str
    row: int
    element: int | None = None


@dataclass(frozen=True, slots=True)
class MediaRef:
    """A reference taken apart.

    `path` is the file, folder or container as typed (for `data` and `http` the whole text). `member` is the
    name inside an archive, without leading `./`; "" is the archive's own top folder. `page` counts from 1.
    `window` is in seconds from the clip's first frame, `None` where that side is open.
    """

    text: str
    scheme: Literal["path", "quickstart", "data", "http"]
    path: str
    container: Container | None = None
    member: str | None = None
    cell: Cell | None = None
    page: int | None = None
    window: tuple[float | None, float | None] | None = None

    @property
    def shown(self) -> str:
        """The reference as error messages show it: on one line, long ones cut."""
        return shown(self.text)


def shown(text: str) -> str:
    """`text` on one line, at most about `SHOWN_CHARACTERS` long.

    >>> shown("data:image/png;base64," + "A" * 1000)
    'data:image/png;base64,... (1022 characters)'
    """
    line = " ".join(text.split()) if any(mark in text for mark in "\r\n\t") else text
    if line.startswith("data:") and "," in line:
        return f"{line[: line.index(',') + 1][:SHOWN_CHARACTERS]}... ({len(line)} characters)"
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}... ({len(line)} characters)"


def nothing_exists(_path: str) -> bool:
    """The `is_file` of someone who only has the string."""
    return False


def parse(text: str, is_file: Callable[[str], bool] = nothing_exists) -> MediaRef:
    """Take a reference apart. `is_file` is asked only about strings that can be read in two ways.

    Raises DataError, without place and without the reference's name in front, for an empty reference, an
    unknown scheme, a page below 1, a window that is empty, and a Parquet reference without a cell.

    >>> parse("papers.zip!a/b.pdf#page=3").member
    'a/b.pdf'
    """
    if not text:
        raise DataError("the reference is empty")
    if text.startswith("data:"):
        return MediaRef(text=text, scheme="data", path=text)
    if text.startswith(QUICKSTART):
        return replace(_parse_path(text.removeprefix(QUICKSTART), is_file), text=text, scheme="quickstart")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _parse_path(text, is_file)
    if scheme.group().lower() in ("http://", "https://"):
        return MediaRef(text=text, scheme="http", path=text)
    raise DataError(
        f"{scheme.group()} is not read", hint="write a path, or an http(s) address with --allow-remote"
    )


def _parse_path(text: str, is_file: Callable[[str], bool]) -> MediaRef:
    if not text:
        raise DataError("the reference is empty")
    whole = MediaRef(text=text, scheme="path", path=text)
    if ("!" in text or "#" in text) and is_file(text):
        return whole
    body, page, window = _split_fragment(text)
    if page is not None and page < 1:
        raise DataError(f"pages are counted from 1, not {page}")
    if window is not None and window[1] is not None and (window[0] or 0.0) >= window[1]:
        raise DataError(f"the window {window[0] or 0.0:g} to {window[1]:g} s is empty")
    whole = replace(whole, path=body, page=page, window=window)
    if "!" not in body or is_file(body):
        return whole
    splits = list(_splits(body))
    if not splits:
        return whole
    path, container, inner = splits[0]
    if len(splits) > 1:
        path, container, inner = next((split for split in splits if is_file(split[0])), splits[0])
    if container == "parquet":
        return replace(whole, path=path, container=container, cell=_parse_cell(path, inner))
    return replace(whole, path=path, container=container, member=inner.removeprefix("./"))


def _split_fragment(text: str) -> tuple[str, int | None, tuple[float | None, float | None] | None]:
    if found := _PAGE.match(text):
        return found["path"], int(found["page"]), None
    found = _WINDOW.match(text)
    if found and (found["start"] or found["end"]):
        start = float(found["start"]) if found["start"] else None
        return found["path"], None, (start, float(found["end"]) if found["end"] else None)
    return text, None, None


def _splits(body: str) -> Iterator[tuple[str, Container, str]]:
    """Every way to cut `body` at a `!` that follows a container's suffix, from the left."""
    for found in re.finditer("!", body):
        path = body[: found.start()]
        for suffix, container in CONTAINER_SUFFIXES.items():
            if path.lower().endswith(suffix):
                yield path, container, body[found.end() :]
                break


def _parse_cell(path: str, inner: str) -> Cell:
    found = _CELL.match(inner)
    if found is None:
        raise DataError(
            "a Parquet reference names a column and a row", hint=f"for instance {path}!image[0] (rows from 0)"
        )
    element = found["element"]
    return Cell(found["column"], int(found["row"]), None if element is None else int(element))
