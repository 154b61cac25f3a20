"""When a run ends before its last step: signals, and evaluations that no longer improve."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
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
class Standing:
    """How a run stands: the losses of its last step, its last evaluation, the best one so far.

    `data` is the digest of what is evaluated on: scores on other data are not taken over from a checkpoint.
    """

    data: str | None = None
    losses: dict[str, Any] = field(default_factory=dict)  # `loss` and `dataset_loss`
    score: float | None = None  # the best
    step: int = 0
    dataset_score: dict[str, float] = field(default_factory=dict)
    since: int = 0  # evaluations since then
    last: int = -1  # the step of the last evaluation
    last_dataset_score: dict[str, float] = field(default_factory=dict)

    def take(self, scores: Mapping[str, float], step: int) -> bool:
        """Notes an evaluation; whether it is the best."""
        score = mean(scores)
        self.last, self.last_dataset_score = step, dict(scores)
        better = self.score is None or score > self.score
        if better:
            self.score, self.step, self.since = score, step, 0
            self.dataset_score = dict(scores)
        else:
            self.since += 1
        return better

    def evaluation(self) -> dict[str, Any] | None:
        """What a model card says of it; None before the first evaluation."""
        if self.score is None:
            return None
        best = {"score": self.score, "step": self.step, "dataset_score": self.dataset_score}
        return {**best, "last_step": self.last, "last_dataset_score": self.last_dataset_score}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        if state.get("data", self.data) != self.data:
            state = {"losses": state.get("losses", {})}
        for name, value in state.items():
            setattr(self, name, value)


def mean(scores: Mapping[str, float]) -> float:
    """The score of an evaluation."""
    return sum(scores.values()) / len(scores)
