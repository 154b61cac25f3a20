"""Signals that wait for the end of a write: one that is broken off leaves a file that nobody can read."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """The first SIGTERM or SIGINT takes its course once the block has ended, a second one at once."""
    if threading.current_thread() is not threading.main_thread():  # others are never interrupted
        yield
        return
    held: list[int] = []
    # None is a handler that Python did not install and could not put back
    before = {one: found for one in _SIGNALS if (found := signal.getsignal(one)) is not None}

    def restore() -> None:
        for one, found in before.items():
            signal.signal(one, found)

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            held.clear()
            restore()
            signal.raise_signal(number)
        else:
            held.append(number)

    try:
        for one in before:
            signal.signal(one, hold)
        yield
    finally:
        restore()
        if held:
            signal.raise_signal(held[0])
