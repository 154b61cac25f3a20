"""What people see while a command runs: messages on stderr, and a bar when stderr is a terminal."""

import logging
import sys
from collections.abc import Iterable
from typing import TypeVar

Thing = TypeVar("Thing")
PACKAGE_LOG = logging.getLogger("vlm2vec_cli")


class StderrHandler(logging.Handler):
    """Writes each message as one line, above a bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record; a stderr that is closed is not our caller's problem."""
        kind = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        line = f"vlm2vec: {kind}{record.getMessage()}"
        try:
            if "tqdm" in sys.modules:
                from tqdm import tqdm

                tqdm.write(line, file=sys.stderr)
            else:
                print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError):
            self.handleError(record)


def start() -> None:
    """Sends the messages of the package to stderr, once a process; -q and -v set the level."""
    if not any(isinstance(one, StderrHandler) for one in PACKAGE_LOG.handlers):
        PACKAGE_LOG.addHandler(StderrHandler())
        PACKAGE_LOG.setLevel(logging.INFO)
        PACKAGE_LOG.propagate = False


def bar(
    things: Iterable[Thing], *, label: str, unit: str = "row", total: int | None = None, quiet: bool = False
) -> Iterable[Thing]:
    """`things` unchanged, counted in a bar on stderr if that is a terminal and -q is not given."""
    if quiet or not sys.stderr.isatty() or not PACKAGE_LOG.isEnabledFor(logging.INFO):
        return things
    from tqdm import tqdm

    shown: Iterable[Thing] = tqdm(
        things, desc=label, unit=f" {unit}s", total=total, file=sys.stderr, leave=False, dynamic_ncols=True
    )
    return shown
