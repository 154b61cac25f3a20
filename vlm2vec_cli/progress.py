"""What people see while a command runs: messages on stderr, and a bar when stderr is a terminal."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

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
    things: Iterable[Thing],
    *,
    label: str,
    unit: str = "row",
    total: int | None = None,
    size: Callable[[Thing], int] | None = None,
    quiet: bool = False,
) -> Iterable[Thing]:
    """`things` unchanged, counted in a bar on stderr if that is a terminal and -q is not given.

    `size` says how many units a thing is; one where it is not given.
    """
    return _counted(things, label, unit, total, size) if _is_shown(quiet) else things


def _counted(
    things: Iterable[Thing], label: str, unit: str, total: int | None, size: Callable[[Thing], int] | None
) -> Iterator[Thing]:
    from tqdm import tqdm

    with tqdm(
        desc=label, unit=f" {unit}s", total=total, file=sys.stderr, leave=False, dynamic_ncols=True
    ) as shown:
        for thing in things:
            yield thing
            shown.update(1 if size is None else size(thing))


def steps(events: Iterable[dict[str, Any]], *, label: str, quiet: bool = False) -> Iterable[dict[str, Any]]:
    """Training events unchanged; the bar is at their last step, of all that the start event names, with the
    loss and the best score so far."""
    return _stepping(events, label) if _is_shown(quiet) else events


def _stepping(events: Iterable[dict[str, Any]], label: str) -> Iterator[dict[str, Any]]:
    from tqdm import tqdm

    shown: Any = None
    seen: dict[str, str] = {}
    try:
        for event in events:
            if event["event"] == "start":
                shown = tqdm(
                    desc=label, unit="step", total=event["steps"], initial=event["first_step"],
                    file=sys.stderr, leave=False, dynamic_ncols=True,
                )  # fmt: skip
            elif event["event"] == "step":
                seen["loss"] = f"{event['loss']:.4f}"
                shown.set_postfix(seen, refresh=False)
                shown.update()
            elif event["event"] == "eval" and event["best"]:
                seen["best"] = f"{event['score']:.4f}"
                shown.set_postfix(seen)
            yield event
    finally:
        if shown is not None:
            shown.close()


def _is_shown(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty() and PACKAGE_LOG.isEnabledFor(logging.INFO)
