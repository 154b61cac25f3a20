"""Files as they lie around: a row for each picture, PDF page and video; folders and archives are entered.

Paths, patterns and lists of paths come in the entry's `paths`. An id is the path relative to the root, with
the page behind it, so that it stays the same from run to run. Files of other kinds in folders, patterns and
archives are left out, and counted; one that was named itself is refused.
Source: this project.
"""

import glob
import os
import posixpath
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, MissingError, UserError
from vlm2vec_cli.media import MediaPolicy, archives
from vlm2vec_cli.media.sampling import natural_key
from vlm2vec_cli.readers import Raw, Side
from vlm2vec_cli.readers._media import with_frames
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.schemas.media_ref import CONTAINER_SUFFIXES

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2", ".ppm")
KINDS = {
    **dict.fromkeys(PICTURES, "image"),
    **dict.fromkeys((".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".mpeg"), "video"),
    ".pdf": "pdf",
    ".zip": "zip",
    ".tar": "tar",
}
COMPRESSED_TARS = tuple(suffix for suffix, kind in CONTAINER_SUFFIXES.items() if kind == "compressed-tar")
HIDDEN = "hidden file"


class Part(NamedTuple):
    """A row's worth of a file: the field it belongs in, the end of its reference, a page's text."""

    field: str
    inside: str = ""
    text: str = ""


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
        yield from _expanded(raw, typed)
    except UserError as error:
        raw.reject(error.at(typed))


def _expanded(raw: Raw, typed: str) -> Iterator[Path]:
    """The files that a path, a folder or a pattern stands for. Raises MissingError for none."""
    path = raw.root / typed
    if path.is_file() and _kind(path.name) is None:
        hint = "in folders and patterns such files are left out"
        raise DataError("is no picture, PDF, video, zip or tar", hint=hint)
    if path.exists():
        yield from _walk(raw, path) if path.is_dir() else (path,)
        return
    if not glob.has_magic(typed):
        raise MissingError("no such file or folder")
    matches = sorted(glob.glob(typed, root_dir=raw.root, recursive=True), key=natural_key)
    if not matches:
        raise MissingError("no file matches this pattern")
    for one in (raw.root / match for match in matches):
        yield from _walk(raw, one) if one.is_dir() else (one,)


def _walk(raw: Raw, folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder, onerror=_unreadable):
        folders.sort(key=natural_key)
        for name in sorted(names, key=natural_key):
            if _hidden(name):
                raw.left_out(HIDDEN)
            else:
                yield Path(here, name)


def _unreadable(error: OSError) -> None:
    raise MissingError(f"cannot be read: {error.strerror}", place=str(error.filename)) from error


def _kind(name: str) -> str | None:
    """Of a file, by its name: image, video, pdf, zip, tar, compressed-tar; None for another."""
    plain = name.lower()
    return "compressed-tar" if plain.endswith(COMPRESSED_TARS) else KINDS.get(os.path.splitext(plain)[1])


def _hidden(name: str) -> bool:
    """Whether a file or member is not for people, by its name or by the folder that macOS adds to a zip."""
    return posixpath.basename(name).startswith(".") or "__MACOSX" in name.split("/")


def _rows(entry: Entry, raw: Raw, path: Path) -> Iterator[Row]:
    kind = _kind(path.name)
    if kind is None:
        raw.left_out("file that is no picture, PDF, video, zip or tar")
        return
    typed = os.path.relpath(path, raw.root)
    name = Path(path).as_posix() if typed.startswith("..") else Path(typed).as_posix()
    reference = raw.references.of(path.parent, path.name)
    for part in _parts(entry, raw, path, kind):
        content = {part.field: reference + part.inside, **({"text": part.text} if part.text else {})}
        yield _row(entry, raw, name + part.inside, content)


def _parts(entry: Entry, raw: Raw, path: Path, kind: str) -> Iterator[Part]:
    """What a file holds: itself, its pages or its members. One that cannot be read is rejected."""
    with_text = entry.get("with_text", False)
    try:
        if kind == "pdf":
            yield from _pages(str(path), with_text=with_text)
        elif kind in ("zip", "tar", "compressed-tar"):
            archives.refuse_compressed(str(path), str(path), kind)
            yield from _members(raw, path, kind, with_text=with_text)
        else:
            yield Part(kind)
    except UserError as error:
        raw.reject(error.at(str(path)))


def _row(entry: Entry, raw: Raw, identifier: str, content: Row) -> Row:
    row: Row = {"id": identifier, "dataset": entry["name"], "role": entry["role"], **content}
    if entry.get("instruction") and raw.instructions:
        row["instruction"] = entry["instruction"]
    return with_frames(row, entry, raw)


def _members(raw: Raw, path: Path, container: str, *, with_text: bool) -> Iterator[Part]:
    """The pictures, videos and pages of documents in an archive, in natural order."""
    archive: archives.Archive | None = None
    for name in sorted(_names(path, container), key=natural_key):
        plain, kind = name.removeprefix("./"), _kind(name)
        if _hidden(plain):
            raw.left_out(HIDDEN)
        elif kind in ("image", "video"):
            yield Part(kind, f"!{plain}")
        elif kind != "pdf":
            raw.left_out("file in an archive that is no picture, PDF or video")
        else:
            try:
                if archive is None:
                    archive = archives.open_archive(str(path), str(path), container)
                content = archive.read(archives.member_name(name), MediaPolicy().max_bytes)
                for page in _pages(content, with_text=with_text):
                    yield page._replace(inside=f"!{plain}{page.inside}")
            except UserError as error:
                raw.reject(error.at(f"{path}!{plain}"))


def _names(path: Path, container: str) -> list[str]:
    """The files in an archive. DataError for one that is damaged, or reaches out of itself."""
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
    return names


def _leads_out(one: tarfile.TarInfo) -> bool:
    """Whether a member is a link that leaves the archive; other links repeat members of it."""
    if not (one.islnk() or one.issym()):
        return False
    start = posixpath.dirname(one.name) if one.issym() else ""
    target = posixpath.normpath(posixpath.join(start, one.linkname))
    return target.startswith(("/", "../")) or target == ".."


def _pages(source: str | bytes, *, with_text: bool) -> Iterator[Part]:
    """The pages of a document, a path or its content, with their texts where these are wanted."""
    from vlm2vec_cli.media.pages import Document  # only PDFs need MuPDF

    try:
        document = Document(source)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    for page in range(1, document.num_pages + 1):
        yield Part("image", f"#page={page}", document.text(page) if with_text else "")
