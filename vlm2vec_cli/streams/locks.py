"""Locks that keep two runs from writing the same files of a folder.

The file `.lock` in the folder has a byte for each thing that can be held. The system lets go of a process's
bytes when the process ends, however it ends, so a killed run leaves nothing behind that a next one would wait
for. Where the system or the file system has no such locks, nothing is held.
"""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from vlm2vec_cli.errors import UnavailableError

if sys.platform != "win32":
    import fcntl

NAME = ".lock"
_BUSY = (errno.EACCES, errno.EAGAIN)
_TRIES = 10  # a run that ends holds the whole file for an instant
_PAUSE_SECONDS = 0.05


class Lock:
    """The lock file of a folder. One a process and folder: closing a second one would free the first."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file = self._opened()

    def hold(self, number: int, place: str) -> None:
        """Holds byte `number` until `free` or the end of the process.

        Raises UnavailableError at `place` where another process holds it.
        """
        for _ in range(_TRIES):
            if self._held(number):
                if self._is_there():
                    return
                os.close(self._file)  # a run that ended has removed the file in between
                self._file = self._opened()
            else:
                time.sleep(_PAUSE_SECONDS)
        raise UnavailableError(
            "another run is writing this", place=place, hint="wait for it, or another -o DIR"
        )

    def free(self, number: int) -> None:
        """Lets go of byte `number`."""
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def close(self) -> None:
        """Lets go of everything, and removes the file where nobody else holds any of it."""
        with contextlib.suppress(OSError):
            if sys.platform != "win32":
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path.unlink()
        os.close(self._file)

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UnavailableError(f"cannot be written: {error.strerror}", place=str(self._path)) from error

    def _held(self, number: int) -> bool:
        if sys.platform == "win32":
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as error:
            return error.errno not in _BUSY
        return True

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except FileNotFoundError:
            return False


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """The lock of a folder that is there, closed at the end of the block."""
    lock = Lock(folder)
    try:
        yield lock
    finally:
        lock.close()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the folder as a whole; makes it, and removes it again where the block leaves it empty.

    Raises UnavailableError where another run holds it or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot be made: {error.strerror}", place=str(folder)) from error
    try:
        with locked(folder) as lock:
            lock.hold(0, str(folder))
            yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()
