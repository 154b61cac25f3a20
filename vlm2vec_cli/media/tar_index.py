"""Where the members of an uncompressed tar lie. One pass over its headers, kept for the next time.

A tar has no index, so finding anything means reading every header, minutes for the hundreds of thousands of
frames of a benchmark. What was found is written beside the archive, as `.NAME.tar.index`, or where that
cannot be written, into the cache folder (XDG_CACHE_HOME, else ~/.cache, there `vlm2vec`); it counts as long
as the archive has the same size and time of change. A tar of few members is read anew each time.
"""

import contextlib
import hashlib
import os
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import orjson

Members: TypeAlias = dict[str, tuple[int, int]]
"""Name to the first byte of the content and its length."""

FORMAT = 1
WORTH_KEEPING = 1000
"""Members from which on the index is written."""


def members(path: str) -> Members:
    """The regular members by normal name; links to other members lead to these, all others nowhere.

    Raises tarfile.TarError for a damaged archive.
    """
    status = os.stat(path)
    stamp = [FORMAT, status.st_size, status.st_mtime_ns]
    for place in _places(path):
        if (known := _read(place, stamp)) is not None:
            return known
    found = scan(path)
    if len(found) >= WORTH_KEEPING:
        for place in _places(path):
            if _written(place, stamp, found):
                break
    return found


def normal(name: str) -> str:
    """The name without `./`, and leading, doubled and closing slashes."""
    plain = posixpath.normpath(name.lstrip("/"))
    return "" if plain == "." else plain


def cache_folder() -> Path:
    """Where the indices of archives in folders that cannot be written are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "vlm2vec"


class _Headers(tarfile.TarFile):
    """A tar file read header by header."""

    members: list[tarfile.TarInfo]


def scan(path: str) -> Members:
    """The members by reading all headers."""
    found: Members = {}
    links: dict[str, str] = {}
    with _Headers(path) as tar:
        while (one := tar.next()) is not None:
            tar.members = []  # the headers of hundreds of thousands of members are not kept
            name = normal(one.name)
            if one.islnk():
                links[name] = normal(one.linkname)
            elif one.issym():
                links[name] = normal(posixpath.join(posixpath.dirname(one.name), one.linkname))
            elif one.isreg() and not one.issparse():
                found[name] = (one.offset_data, one.size)
        _check_end(path, tar.offset)
    for name, target in links.items():
        seen = {name}
        while target in links and target not in seen:
            seen.add(target)
            target = links[target]
        if target in found:
            found.setdefault(name, found[target])
    return found


def _check_end(path: str, offset: int) -> None:
    """`tarfile` takes a damaged header for the end. A real end is a block of zeros or the end of the file."""
    with open(path, "rb") as file:
        file.seek(offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"no member header at byte {offset:,}")


def _places(path: str) -> Iterator[Path]:
    """Where the index of an archive may be kept, in the order they are tried."""
    real = Path(os.path.realpath(path))
    yield real.with_name(f".{real.name}.index")
    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
    yield cache_folder() / f"{name}.index"


def _read(place: Path, stamp: list[int]) -> Members | None:
    """A kept index; None where there is none, or for another version of the archive, or a damaged one."""
    try:
        kept = orjson.loads(place.read_bytes())
        if kept["stamp"] != stamp:
            return None
        starts, sizes = kept["starts"], kept["sizes"]
        return dict(zip(kept["names"], zip(starts, sizes, strict=True), strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _written(place: Path, stamp: list[int], found: Members) -> bool:
    """Whether the index could be written; it has its name only once it is complete."""
    starts, sizes = zip(*found.values(), strict=True)
    unfinished = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        whole = orjson.dumps({"stamp": stamp, "names": list(found), "starts": starts, "sizes": sizes})
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(whole)
        os.replace(unfinished, place)
        return True
    except (OSError, TypeError):  # a name that is no UTF-8 cannot be kept
        with contextlib.suppress(OSError):
            unfinished.unlink()
        return False
