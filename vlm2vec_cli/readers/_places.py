"""Finding the media that raw rows name: unpacked, a folder deeper or not, or inside zip and tar archives."""

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Protocol, TypeAlias

from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.media import archives
from vlm2vec_cli.media.handles import Cache
from vlm2vec_cli.media.sources import file_stamp
from vlm2vec_cli.readers._packed import Packed, waiting_for
from vlm2vec_cli.readers._raw import Missing, Raw

ARCHIVE = re.compile(r"^\.|\.(zip|tar|tgz)$|\.tar\.[^/]*$")
LISTED_FOLDERS = 64
_NAME = attrgetter("name")
_OPEN = Cache(64, max_weight=1_000_000)
"""Open archives, with at most this many members in all."""


@dataclass(frozen=True)
class Folder:
    """A folder on disk or in an archive: its reference, and the bare names in it, sorted."""

    reference: str
    files: list[str]
    folders: list[str]


class Places:
    """Where the media of one dataset may lie: folders, then archives, in the order they are looked at.

    The place where the last one was found is looked at first. Archives are opened when no folder has a name.
    `missing` says what has the media where no place exists.
    """

    def __init__(
        self,
        raw: Raw,
        folders: Sequence[Path],
        packed: Sequence[Packed] = (),
        missing: Sequence[Missing] = (),
    ) -> None:
        self._raw, self._folders, self._packed, self._missing = raw, folders, packed, missing
        self._looks: list[_Look] = [_OnDisk(raw, one) for one in folders if one.is_dir()]
        self._looks += [_InArchive(raw, one) for one in packed if one.path.is_file()]

    def reference(self, kind: str, name: str) -> str:
        """The reference of `name`. Raises MissingError naming the places, DataError for a bad name."""
        found = self.find(name)
        if found is None:
            raise MissingError(f"{kind} {name}: not in {self.shown()}", hint=self.hint())
        return found

    def find(self, name: str, *, folder: bool = False) -> str | None:
        """The reference of the file, or folder of files, `name`, a relative path; None for none.

        `name` may end in `#page=N`, a page of the file before it.
        """
        if self._looks and (quick := self._looks[0].known(name, folder)):
            return quick
        _check(name)
        for number, look in enumerate(self._looks):
            if found := look.find(name, folder):
                if number:
                    self._looks.insert(0, self._looks.pop(number))
                return found
        bare, mark, page = name.rpartition("#page=")
        if mark and page.isdecimal() and (found := self.find(bare)):
            return found + mark + page
        return None

    def prefix(self, folder: str, names: Collection[str]) -> str | None:
        """What references to all of `names`, files in `folder`, begin with; None if it is not found at once.

        Only the place where the last medium was found is looked at. `folder` is empty or ends in "/".
        """
        return self._looks[0].prefix(folder, names) if self._looks else None

    def folder(self, name: str) -> Folder | None:
        """The folder `name`, a relative path, with what is in it; None for none."""
        _check(name)
        return next((found for look in self._looks if (found := look.folder(name))), None)

    def there(self) -> bool:
        """Whether any of the archives, or of the folders with something in it, exists."""
        return any(look.there() for look in self._looks)

    def shown(self) -> str:
        """The places, for messages."""
        packed = (one.path for one in self._packed if one.path.is_file())
        return ", ".join(map(str, (*self._folders, *packed)))

    def missing(self) -> tuple[Missing, ...]:
        """Where no place exists: the archives to unpack, else those to be had."""
        if self.there():
            return ()
        waiting = (found for one in self._packed if (found := waiting_for(one.path, self._raw.root)))
        return tuple(dict.fromkeys(waiting)) or tuple(self._missing)

    def hint(self) -> str | None:
        """What to do about media that are not there."""
        pieces = self.missing() or self._missing
        if pieces and pieces[0].command:
            return pieces[0].shown()
        return f"they are in {', '.join(one.shown() for one in pieces)}" if pieces else None


Find: TypeAlias = Callable[[tuple[Path, ...]], Places]
"""The places of some folders, for readers whose rows are looked for in different ones."""


def _names(path: str | Path, *, folders: bool) -> set[str]:
    """The names of the files in a folder, or of its folders; links that lead nowhere are left out.

    Raises MissingError where it may not be read.
    """
    try:
        with os.scandir(path) as entries:
            kind = os.DirEntry.is_dir if folders else os.DirEntry.is_file
            return set(map(_NAME, filter(kind, entries)))
    except OSError as error:
        raise MissingError(f"cannot be read: {error.strerror}", place=str(path)) from error


def _check(name: str) -> None:
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise DataError(f"not a path inside the data: {name!r}")


class _Look(Protocol):
    """One place."""

    def there(self) -> bool: ...

    def known(self, name: str, folder: bool) -> str | None: ...

    def prefix(self, folder: str, names: Collection[str]) -> str | None: ...

    def find(self, name: str, folder: bool) -> str | None: ...

    def folder(self, name: str) -> Folder | None: ...


class _OnDisk:
    """A folder. Those of its folders that were looked into are listed once, not asked name by name."""

    def __init__(self, raw: Raw, top: Path) -> None:
        self._raw, self._top, self._under = raw, top, os.path.join(top, "")
        self._listed: dict[tuple[str, bool], set[str]] = {}

    @cached_property
    def _prefix(self) -> str:  # asked for only once something is found
        return self._raw.references.of(self._top, "")

    def there(self) -> bool:
        kinds = (_names(self._top, folders=kind) for kind in (True, False))
        return any(not ARCHIVE.search(name) for names in kinds for name in names)

    def known(self, name: str, folder: bool) -> str | None:
        above, _, bare = name.rpartition("/")
        if bare not in self._listed.get((above, folder), ()):
            return None
        return f"{self._prefix}{name}/" if folder else self._prefix + name

    def prefix(self, folder: str, names: Collection[str]) -> str | None:
        listed = self._listed.get((folder[:-1], False))
        return self._prefix + folder if listed and listed.issuperset(names) else None

    def find(self, name: str, folder: bool) -> str | None:
        name = name.rstrip("/") if folder else name
        above = name.rpartition("/")[0]
        if (above, folder) not in self._listed and os.path.isdir(self._under + above):
            if len(self._listed) == LISTED_FOLDERS:
                self._listed.pop(next(iter(self._listed)))
            self._listed[above, folder] = _names(self._under + above, folders=folder)
        if (found := self.known(name, folder)) is not None:
            return found
        there = (os.path.isdir if folder else os.path.isfile)(self._under + name)  # spelled in another way
        return (f"{self._prefix}{name}/" if folder else self._prefix + name) if there else None

    def folder(self, name: str) -> Folder | None:
        if not os.path.isdir(self._under + name):
            return None
        files, folders = (sorted(_names(self._under + name, folders=kind)) for kind in (False, True))
        return Folder(f"{self._prefix}{name.rstrip('/')}/", files, folders)


class _InArchive:
    def __init__(self, raw: Raw, packed: Packed) -> None:
        self._raw, self._packed = raw, packed

    @cached_property
    def _outer(self) -> str:
        path = self._packed.path
        return self._raw.references.of(path.parent, path.name) + "!"

    @cached_property
    def _archive(self) -> archives.Archive:
        path = str(self._packed.path)
        kind = "zip" if path.endswith(".zip") else "tar"
        return _OPEN.get(file_stamp(path), lambda: archives.open_archive(path, path, kind), len)

    def there(self) -> bool:
        return True

    def known(self, name: str, folder: bool) -> str | None:
        member = self._packed.prefixes[0] + name
        if folder or ".." in name or not self._archive.has(member):
            return None
        return self._outer + member

    def prefix(self, folder: str, names: Collection[str]) -> str | None:
        above, has = self._packed.prefixes[0] + folder, self._archive.has
        if ".." in above or not all(has(above + name) for name in names):
            return None
        return self._outer + above

    def find(self, name: str, folder: bool) -> str | None:
        archive = self._archive
        for prefix in self._packed.prefixes:
            member = archives.member_name(prefix + name)
            if archive.names_in(member) if folder else archive.has(member):
                return f"{self._outer}{member}/" if folder else self._outer + member
        return None

    def folder(self, name: str) -> Folder | None:
        for prefix in self._packed.prefixes:
            member = archives.member_name(prefix + name)
            files, folders = self._archive.names_in(member), self._archive.folders_in(member)
            if files or folders:
                return Folder(f"{self._outer}{member}/", sorted(files), sorted(folders))
        return None
