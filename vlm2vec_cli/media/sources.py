"""What a reference leads to: a file, some bytes, a folder of frames, or pictures in a Parquet cell."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from vlm2vec_cli.errors import DataError

_CHUNK = 1 << 20
Stamp = tuple[object, ...]


def file_stamp(path: str) -> Stamp:
    """What changes when the file does: path, size, time of change."""
    status = os.stat(path)
    return (path, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that are fetched when they are needed. `stamp` tells versions apart; None: not to be cached."""

    load: Callable[[], bytes]
    stamp: Stamp | None = None

    def read(self, max_bytes: int) -> bytes:
        """The content. Raises DataError where it is longer than `max_bytes`."""
        content = self.load()
        if len(content) > max_bytes:
            raise DataError(f"is larger than {max_bytes:,} bytes ({len(content):,})")
        return content

    def in_place(self, max_bytes: int) -> str | bytes:
        """The path for libraries that read files themselves, else the bytes."""
        return self.read(max_bytes)

    def digest(self, max_bytes: int) -> str:
        """sha256 of the content, hexadecimal."""
        return hashlib.sha256(self.read(max_bytes)).hexdigest()


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on disk; the same methods as `Blob`."""

    path: str

    @property
    def stamp(self) -> Stamp | None:
        """Tells this version of the file from others."""
        return file_stamp(self.path)

    def read(self, max_bytes: int) -> bytes:
        """The content. Raises DataError where it is longer than `max_bytes`."""
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise DataError(f"is larger than {max_bytes:,} bytes ({size:,})")
            return file.read()

    def in_place(self, _max_bytes: int) -> str | bytes:
        """The path."""
        return self.path

    def digest(self, _max_bytes: int) -> str:
        """sha256 of the content, hexadecimal, whatever its length."""
        whole = hashlib.sha256()
        with open(self.path, "rb") as file:
            while part := file.read(_CHUNK):
                whole.update(part)
        return whole.hexdigest()


Single = Blob | LocalFile


@dataclass(frozen=True, slots=True)
class Several:
    """Pictures in order, each with the name that messages use. `folder`: whether they lie in a folder."""

    parts: list[tuple[str, Single]]
    folder: bool

    def refuse(self) -> DataError:
        """The error of someone who needs exactly one."""
        if self.folder:
            return DataError("is a folder, not a file", hint="a folder of frames belongs in `video`")
        return DataError(
            f"the cell holds {len(self.parts)} elements", hint="name one of them: COLUMN[ROW][0]"
        )
