"""What every reader is given beside its entry: where to look, how to refer to media, where bad rows go."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vlm2vec_cli.errors import MissingError, UserError
from vlm2vec_cli.schemas.media_ref import QUICKSTART


class References:
    """Writes media references: relative to the media root for what lies in it, else absolute.

    `outside` is told once, with the folder, when a reference had to be absolute. With `quickstart` the media
    root is the data of the package and references say so.
    """

    def __init__(
        self, media_root: Path, outside: Callable[[Path], None] = lambda _: None, *, quickstart: bool = False
    ) -> None:
        self._root, self._outside, self._quickstart = media_root, outside, quickstart
        self.prefix = cache(self._prefix)
        self._told = False

    @property
    def root(self) -> Path:
        """The media root."""
        return self._root

    def of(self, folder: Path, name: str) -> str:
        """The reference of `name`, a relative path, in `folder`."""
        return self.prefix(folder) + name

    def _prefix(self, folder: Path) -> str:
        """What stands before names in `folder`; it and the root are compared with links followed."""
        top, real = os.path.realpath(self._root), os.path.realpath(folder)
        if real != top and not real.startswith(top.rstrip(os.sep) + os.sep):
            if not self._told:
                self._told = True
                self._outside(folder)
            return real.rstrip("/") + "/"
        typed = os.path.relpath(os.path.abspath(folder), os.path.abspath(self._root))
        relative = os.path.relpath(real, top) if typed.startswith("..") else typed
        inside = "" if relative == "." else Path(relative).as_posix() + "/"
        return QUICKSTART + inside if self._quickstart else inside


@dataclass(frozen=True)
class Raw:
    """One run's settings for a reader.

    root: the folder that raw data lie under.  split: instead of the entry's own.  instructions: False leaves
    them out of the texts.  num_frames: written on rows with a video.  reject: takes a bad row's error with
    its place.  left_out: counts a row that a rule of the format leaves out, by reason.  noted: counts an
    oddity of the published data that is kept as it is.
    """

    root: Path
    references: References
    reject: Callable[[UserError], None]
    left_out: Callable[[str], None] = lambda _: None
    noted: Callable[[str], None] = lambda _: None
    split: str | None = None
    instructions: bool = True
    num_frames: int | None = None


@dataclass(frozen=True)
class Missing:
    """A file that is not under the root, and the hub repository that has it; `command` makes it of another.

    The command is there where the file is, but packed in a way that cannot be read in place.
    """

    file: str
    repository: str | None = None
    command: str | None = None

    def shown(self) -> str:
        """For people: what to do about it."""
        if self.command:
            return f"{self.file} is packed: {self.command}"
        return f"{self.file} of {self.repository} on the hub" if self.repository else self.file


@dataclass(frozen=True)
class Found:
    """What of a dataset is there: the files that say what its rows are, a place with its media, the rest."""

    annotations: bool
    media: bool
    missing: tuple[Missing, ...] = ()


class NotThere(MissingError):
    """No annotations; `missing` are the files that would be."""

    missing: tuple[Missing, ...] = ()


def found_in(*parts: Callable[[], Sequence[Path]], media: Sequence[Missing] = ()) -> Found:
    """What is there: each of `parts` finds annotations or raises NotThere; `media` are those missing."""
    missing: list[Missing] = []
    for find in parts:
        try:
            find()
        except NotThere as error:
            missing += error.missing
    return Found(not missing, not media, (*missing, *media))
