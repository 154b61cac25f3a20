"""Files as they lie around: a row for each picture, PDF page and video; folders and archives are entered.

Paths, patterns and lists of paths come in the entry's `paths`. An id is the path relative to the root, with
the page behind it, so that it stays the same from run to run. Files of other kinds in folders are left out,
and counted.
Source: this project.
"""

import glob
import os
import posixpath
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, MissingError, UserError
from vlm2vec_cli.media.sampling import natural_key
from vlm2vec_cli.readers import Raw, Side
from vlm2vec_cli.readers._media import with_frames
from vlm2vec_cli.schemas.base import Row

KINDS = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"), "image"),
    **dict.fromkeys((".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".mpeg"), "video"),
    ".pdf": "pdf",
    ".zip": "zip",
    ".tar": "tar",
}


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The rows of everything that `paths` name, in the order given, folders in natural order."""
    seen: set[str] = set()
    for typed in entry["paths"]:
        for path in _paths(raw, typed):
            for row in _rows(entry, raw, path):
                if row["id"] in seen:
                    raw.left_out("file that was named before")
                else:
                    seen.add(row["id"])
                    yield row


def _paths(raw: Raw, typed: str) -> Iterator[Path]:
    try:
        yield from _expanded(raw.root, typed)
    except UserError as error:
        raw.reject(error.at(typed))


def _expanded(root: Path, typed: str) -> Iterator[Path]:
    """The files that a path, a folder or a pattern stands for. Raises MissingError for none."""
    path = root / typed
    if path.exists():
        yield from _walk(path) if path.is_dir() else (path,)
        return
    matches = sorted(glob.glob(str(path), recursive=True), key=natural_key) if glob.has_magic(typed) else []
    if not matches:
        raise MissingError(
            "no file matches this pattern" if glob.has_magic(typed) else "no such file or folder"
        )
    for one in map(Path, matches):
        yield from _walk(one) if one.is_dir() else (one,)


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder, onerror=_unreadable):
        folders.sort(key=natural_key)
        yield from (Path(here, name) for name in sorted(names, key=natural_key) if not name.startswith("."))


def _unreadable(error: OSError) -> None:
    raise MissingError(f"cannot be read: {error.strerror}", place=str(error.filename)) from error


def _rows(entry: Entry, raw: Raw, path: Path) -> Iterator[Row]:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raw.left_out("file that is no picture, PDF, video, zip or tar")
        return
    typed = os.path.relpath(path, raw.root)
    name = Path(path).as_posix() if typed.startswith("..") else Path(typed).as_posix()
    reference = raw.references.of(path.parent, path.name)
    try:
        if kind == "pdf":
            for inside, text in _pages(path, with_text=entry.get("with_text", False)):
                content = {"image": reference + inside, **({"text": text} if text else {})}
                yield _row(entry, raw, name + inside, content)
            return
        members = _members(path, kind) if kind in ("zip", "tar") else [(kind, "")]
    except UserError as error:
        raw.reject(error.at(str(path)))
        return
    for field, inside in members:
        yield _row(entry, raw, name + inside, {field: reference + inside})


def _row(entry: Entry, raw: Raw, identifier: str, content: Row) -> Row:
    row: Row = {"id": identifier, "dataset": entry["name"], "role": entry["role"], **content}
    if entry.get("instruction") and raw.instructions:
        row["instruction"] = entry["instruction"]
    return with_frames(row, entry, raw)


def _members(path: Path, container: str) -> list[tuple[str, str]]:
    """Field and reference part of the pictures and videos in an archive, in natural order."""
    try:
        if container == "zip":
            with zipfile.ZipFile(path) as packed:
                names = [one.filename for one in packed.infolist() if not one.is_dir()]
        else:
            with tarfile.open(path, "r:") as tar:
                listed = list(tar)
            for one in listed:
                if _leads_out(one):
                    fact = f"the tar member {one.name!r} is a link that leaves the archive: {one.linkname}"
                    raise DataError(fact, hint="pack what it leads to instead of the link: tar --dereference")
            names = [one.name for one in listed if one.isfile()]
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise DataError(f"no readable {container} archive: {error}") from error
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise DataError(
                f"the {container} member {name!r} leaves the archive",
                hint="pack it anew, with relative names",
            )
    kinds = ((KINDS.get(os.path.splitext(name)[1].lower()), name) for name in sorted(names, key=natural_key))
    return [(kind, f"!{name.removeprefix('./')}") for kind, name in kinds if kind in ("image", "video")]


def _leads_out(one: tarfile.TarInfo) -> bool:
    """Whether a member is a link that leaves the archive; other links repeat members of it."""
    if not (one.islnk() or one.issym()):
        return False
    start = posixpath.dirname(one.name) if one.issym() else ""
    target = posixpath.normpath(posixpath.join(start, one.linkname))
    return target.startswith(("/", "../")) or target == ".."


def _pages(path: Path, *, with_text: bool) -> Iterator[tuple[str, str]]:
    """The reference part of each page, and its text where it is wanted."""
    from vlm2vec_cli.media.pages import Document  # only PDFs need MuPDF

    try:
        document = Document(str(path))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    for page in range(1, document.num_pages + 1):
        yield f"#page={page}", document.text(page) if with_text else ""
