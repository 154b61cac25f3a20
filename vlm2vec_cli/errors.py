"""The mistakes a user can make or meet, each with its exit code.

    UserError
    ├── GateError         1   a threshold of `report --gate` was missed
    ├── UsageError        2   options or names that do not fit together
    ├── DataError        65   a row or file that is not what it should be
    ├── MissingError     66   an input file or a medium that is not there
    ├── UnavailableError 69   a model, adapter or optional dependency that cannot be had
    └── StoppedError     75   stopped on a signal, a checkpoint is saved: run the same command again

    ReaderGone            0   whoever read our stdout has closed it (`| head`)

Anything else that reaches `app.run` is a bug of ours: traceback and 70.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar, TypeVar

Error = TypeVar("Error", bound="UserError")


class UserError(Exception):
    """A fact about the user's input, where it was found, and what to do about it.

    `place` names file and line or row and may be empty: code that does not know it raises without, and
    whoever knows adds it with `at`.
    """

    exit_code: ClassVar[int] = 65

    def __init__(self, fact: str, *, place: str = "", hint: str | None = None) -> None:
        super().__init__(fact)
        self.fact = fact
        self.place = place
        self.hint = hint

    def at(self: Error, place: str) -> Error:
        """The same error with `place` set, or unchanged where it already has one."""
        if self.place:
            return self
        error = type(self)(self.fact, place=place, hint=self.hint)
        error.__cause__, error.__suppress_context__ = self.__cause__, self.__suppress_context__
        return error

    def __str__(self) -> str:
        return f"{self.place}: {self.fact}" if self.place else self.fact


class GateError(UserError):
    """A gate said no."""

    exit_code = 1


class UsageError(UserError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = 2


class DataError(UserError):
    """The content of a row or file is not what it should be."""

    exit_code = 65


class MissingError(UserError):
    """An input file or a medium is not there or cannot be opened."""

    exit_code = 66


class UnavailableError(UserError):
    """A model, adapter, optional dependency or resource is not available."""

    exit_code = 69


class StoppedError(UserError):
    """Stopped on a signal with a checkpoint saved."""

    exit_code = 75


class ReaderGone(Exception):
    """The reader of stdout closed the pipe; ends the program quietly with status 0."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A question naming up to three known names like `name`; empty when none is near.

    >>> nearest("nextqa", ["NExTQA", "MSCOCO_i2t"])
    "did you mean 'NExTQA'?"
    """
    by_folded = {one.casefold(): one for one in sorted(known)}
    found = difflib.get_close_matches(name.casefold(), list(by_folded), n=3, cutoff=0.6)
    letters = sorted(name.casefold())
    found = (
        found or [one for one in by_folded if sorted(one) == letters][:3]
    )  # two letters in the wrong order
    if not found:
        return ""
    return f"did you mean {' or '.join(repr(by_folded[one]) for one in found)}?"
