"""Trackers get the numbers of steps and evaluations, and see the end even of a run that fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vlm2vec_cli.errors import StoppedError, UnavailableError
from vlm2vec_cli.training import tracking
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.world import ALONE

EVENTS = [
    {"event": "start", "pairs": 3},
    {"event": "step", "step": 1, "loss": 0.5, "dataset_loss": {"a": 0.25}},
    {"event": "eval", "step": 1, "score": 1.0, "dataset_score": {"b": 1.0}, "best": True},
]


class Tracker:
    """As accelerate's."""

    requires_logging_directory = True
    calls: ClassVar[list[tuple[str, Any]]] = []

    def __init__(self, name: str, logging_dir: Path) -> None:
        self.calls.append(("made", (name, logging_dir)))

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        assert all(isinstance(value, (int, float, str, bool)) for value in values.values())
        self.calls.append(("options", values["batch_size"]))

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append(("log", (step, values)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


def test_numbers_go_to_the_tracker_as_they_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.tracking.LOGGER_TYPE_TO_CLASS", {"wandb": Tracker})
    monkeypatch.setattr(Tracker, "calls", [])

    def events() -> Iterator[dict[str, Any]]:
        yield from EVENTS
        raise StoppedError("stopped")

    seen: list[dict[str, Any]] = []
    with pytest.raises(StoppedError):
        seen.extend(tracking.reported(events(), "wandb", Path("run"), TrainOptions(), ALONE))
    assert Tracker.calls == [
        ("made", ("vlm2vec", Path("run"))),
        ("options", 1024),
        ("log", (1, {"train/loss": 0.5, "train/dataset_loss/a": 0.25})),
        ("log", (1, {"eval/score": 1.0, "eval/dataset_score/b": 1.0, "eval/best": 1.0})),
        ("finish", None),
    ]
    assert list(tracking.reported(iter(EVENTS), None, Path("run"), TrainOptions(), ALONE)) == EVENTS


def test_a_tracker_that_is_not_installed_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="--report-to trackio needs the package trackio") as raised:
        tracking.check("trackio")
    assert raised.value.hint == "pip install trackio"
