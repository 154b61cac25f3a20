"""When a run ends before its last step: signals, and evaluations that no longer improve."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@contextlib.contextmanager
def signals() -> Iterator[list[str]]:
    """Collects the names of signals that ask to stop; the step under way is finished first, a second Ctrl-C
    does not wait for it."""
    seen: list[str] = []

    def note(number: int, _: FrameType | None) -> None:
        if seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        seen.append(signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Best:
    """The best evaluation so far, and how many have come since."""

    score: float | None = None
    step: int = 0
    since: int = 0
    last: int = -1  # the step of the last evaluation

    def take(self, score: float, step: int) -> bool:
        """Notes an evaluation; whether it is the best."""
        self.last = step
        better = self.score is None or score > self.score
        if better:
            self.score, self.step, self.since = score, step, 0
        else:
            self.since += 1
        return better

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        for name, value in state.items():
            setattr(self, name, value)
