"""Members of zip and tar archives, read in place.

Opening an archive reads its index once (for a tar that means one pass over its headers); a member is then one
seek away. Handles close themselves when they are no longer used.
"""

import os
import shlex
import threading
import weakref
import zipfile
from collections.abc import Collection
from functools import cached_property
from typing import IO, Protocol

from vlm2vec_cli.errors import DataError, nearest
from vlm2vec_cli.media import tar_index
from vlm2vec_cli.media.tar_index import normal

_MOST_SAID = 300  # characters of a library's message
_UNPACK = {"gz": "gunzip -c", "bz2": "bunzip2 -c", "xz": "unxz -c", "zst": "zstd -dc"}
_MAGIC = ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zst"))
_ENDINGS = {
    ".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tbz2": "bz2",
    ".tar.xz": "xz", ".txz": "xz", ".tar.zst": "zst", ".tzst": "zst",
}  # fmt: skip


class Archive(Protocol):
    """What a reference needs of an archive. Names are as `member_name` returns them."""

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        ...

    def names_in(self, folder: str) -> list[str]:
        """Bare names of the files directly in `folder` ("" is the top); none if there is no such folder."""
        ...

    def folders_in(self, folder: str) -> list[str]:
        """Bare names of the folders directly in `folder`."""
        ...

    def __len__(self) -> int:
        """The number of members."""
        ...

    def read(self, name: str, max_bytes: int) -> bytes:
        """Raises DataError for a member that is damaged, encrypted or longer than `max_bytes`."""
        ...

    def similar(self, name: str) -> str:
        """A question naming members of the same folder that are spelled like `name`, or ""."""
        ...


def member_name(name: str) -> str:
    """The name in the form archives are indexed by: no `./`, no leading, doubled or closing slash.

    Raises DataError for names that point out of the archive.
    """
    plain = normal(name)
    if plain == ".." or plain.startswith("../"):
        raise DataError(f"the member name {name!r} leaves the archive")
    return plain


def compressed_tar(path: str, packing: str | None = None) -> DataError:
    """The refusal of a compressed tar, with the command that makes it a plain one."""
    stem = path
    for ending, ending_packing in _ENDINGS.items():
        if path.lower().endswith(ending):
            stem, packing = path[: -len(ending)], packing or ending_packing
            break
    plain = f"{stem}.tar" if f"{stem}.tar" != path else f"{path.removesuffix('.tar')}-plain.tar"
    command = f"{_UNPACK[packing or 'gz']} {shlex.quote(path)} > {shlex.quote(plain)}"
    return DataError(
        "members of a compressed tar cannot be read one by one", hint=f"{command}   then refer to {plain}!..."
    )


def refuse_compressed(path: str, shown: str, container: str) -> None:
    """Raises DataError for a compressed tar, by its name or by its first bytes."""
    with open(path, "rb") as file:
        head = file.read(6)
    packing = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if container == "compressed-tar" or (container == "tar" and packing):
        raise compressed_tar(shown, packing)


def open_archive(path: str, shown: str, container: str) -> Archive:
    """The archive at `path` (`shown` in messages). Raises DataError if it is damaged or of another kind."""
    refuse_compressed(path, shown, container)
    try:
        return ZipArchive(path) if container == "zip" else TarArchive(path)
    except OSError:
        raise
    except Exception as error:  # the libraries raise almost anything on damaged headers
        raise DataError(f"the {container} archive {shown} is damaged: {_short(error)}") from error


def _opened_for(owner: object, path: str) -> IO[bytes]:
    """A file that stays open as long as `owner` lives, however it comes to be collected."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    weakref.finalize(owner, os.close, descriptor)
    return open(descriptor, "rb", closefd=False)


class _Index:
    """Folder listing over member names, built when first asked for."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._names:
            parent, _, bare = name.rpartition("/")
            found.setdefault(parent, []).append(bare)
        return found

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        known = {""}
        for folder in self._files:
            while folder not in known:
                known.add(folder)
                folder, _, bare = folder.rpartition("/")
                found.setdefault(folder, []).append(bare)
        return found

    def names_in(self, folder: str) -> list[str]:
        return self._files.get(folder, [])

    def folders_in(self, folder: str) -> list[str]:
        return self._folders.get(folder, [])

    def similar(self, name: str) -> str:
        parent, _, bare = name.rpartition("/")
        return nearest(bare, self.names_in(parent)[:5000])


class ZipArchive(_Index):
    """A zip file. Safe to read from several threads."""

    def __init__(self, path: str) -> None:
        self._file = zipfile.ZipFile(_opened_for(self, path))
        self._members = {normal(one.filename): one for one in self._file.infolist() if not one.is_dir()}
        super().__init__(self._members)

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self._members

    def read(self, name: str, max_bytes: int) -> bytes:
        """The member's content, checked against its checksum."""
        member = self._members[name]
        if member.flag_bits & 1:
            raise DataError("the zip member is encrypted", hint="unpack the archive with its password")
        if member.file_size > max_bytes:
            raise DataError(f"is larger than {max_bytes:,} bytes ({member.file_size:,})")
        try:
            with self._file.open(member) as file:
                content = file.read(max_bytes + 1)
        except Exception as error:  # as above
            raise DataError(f"the zip member is damaged: {_short(error)}") from error
        if len(content) != member.file_size:
            raise DataError("the zip member is cut short")
        return content


class TarArchive(_Index):
    """An uncompressed tar file. Hard and symbolic links to other members are followed."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._members = tar_index.members(path)
        self._file = _opened_for(self, path)
        super().__init__(self._members)

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self._members

    def read(self, name: str, max_bytes: int) -> bytes:
        """The member's content."""
        offset, size = self._members[name]
        if size > max_bytes:
            raise DataError(f"is larger than {max_bytes:,} bytes ({size:,})")
        try:
            with self._lock:
                self._file.seek(offset, os.SEEK_SET)
                content = self._file.read(max(size, 0))
        except (OverflowError, ValueError) as error:  # a header that leads nowhere
            raise DataError(f"the tar member is damaged: {_short(error)}") from error
        if len(content) != size:
            raise DataError("the tar archive ends inside this member")
        return content


def _short(error: Exception) -> str:
    """What a library says, without the pages of a damaged header that it may quote."""
    said = str(error)
    return said if len(said) <= _MOST_SAID else f"{said[:_MOST_SAID]} ..."
