"""Damaged inputs, and a guard that sees every file that Python opens or changes meanwhile."""

import io
import os
import random
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 20.0
"""What one input may take."""

_NASTY = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"../",
    b"\n",
    b'"',
    b"{",
    b"[",
)
_CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def mutated(content: bytes, seed: int) -> bytes:
    """`content` after one to six edits that `seed` decides: bytes set, removed, doubled, added; a cut end."""
    chance = random.Random(seed)
    found = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(found) + 1)
        length = chance.choice((1, 1, 2, 4, 8, 64))
        edit = chance.randrange(7)
        if edit == 0:
            del found[at : at + length]
        elif edit == 1:
            found[at:at] = found[at : at + length]
        elif edit == 2:
            found[at:at] = chance.choice(_NASTY)
        elif edit == 3:
            nasty = chance.choice(_NASTY)
            found[at : at + len(nasty)] = nasty
        elif edit == 4 and chance.random() < 0.3:
            del found[at:]
        else:
            found[at : at + length] = chance.randbytes(length)
    return bytes(found)


def packed_zip(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def packed_tar(members: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            one = tarfile.TarInfo(name)
            one.size = len(content)
            archive.addfile(one, io.BytesIO(content))
        for name, target in links.items():
            one = tarfile.TarInfo(name)
            one.type, one.linkname = tarfile.SYMTYPE, target
            archive.addfile(one)
    return file.getvalue()


class Guard:
    """What Python may touch: below `inside` everything, of Python's own folders reading alone."""

    def __init__(self) -> None:
        self.inside: str | None = None
        self.seen: list[str] = []
        names = {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])}
        self._readable = (*(os.path.realpath(name) + os.sep for name in names if name), "/proc/")
        sys.addaudithook(self._hook)

    @contextmanager
    def only(self, inside: Path) -> Iterator[None]:
        """Fails where the block opens a file outside, changes one, or takes too long."""
        self.seen, self.inside = [], os.path.realpath(inside) + os.sep
        start = time.monotonic()
        try:
            yield
        finally:
            self.inside = None
        assert not self.seen, self.seen
        assert time.monotonic() - start < SECONDS

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        if event == "open":
            path, _, flags = args
            self._check(path, writes=bool(flags & _WRITING))
        elif event in _CHANGES:
            self._check(args[0], writes=True)

    def _check(self, path: Any, *, writes: bool) -> None:
        inside, self.inside = self.inside, None  # looking at a path opens none, but is not to be looked at
        assert inside is not None
        try:
            if isinstance(path, int):  # a file that is open already
                return
            real = os.path.realpath(os.fsdecode(path))
            spool, name = os.path.split(real)
            spooled = spool == os.path.realpath(tempfile.gettempdir()) and name.startswith("tmp")
            if real == os.devnull or spooled or f"{real}{os.sep}".startswith(inside):
                return
            if writes or not real.startswith(self._readable):
                self.seen.append(f"{'wrote' if writes else 'read'} {real}")
        except (ValueError, UnicodeError):
            return  # no path, which the system refuses as well
        finally:
            self.inside = inside
