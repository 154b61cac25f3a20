"""`--report-to`: the events of a run, also to a tracker, through accelerate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlm2vec_cli.errors import UnavailableError, UsageError, nearest
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.world import World

PROJECT = "vlm2vec"
_TAKEN = ("step", "eval")
_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}


def check(name: str | None) -> None:
    """Raises UsageError for an unknown tracker, UnavailableError for one whose package is not there."""
    from importlib.util import find_spec

    if name is None:
        return
    if name not in _PACKAGES:
        known = f"known: {', '.join(_PACKAGES)}"
        raise UsageError(f"--report-to: unknown {name!r}", hint=f"{nearest(name, _PACKAGES)} {known}".strip())
    if not any(find_spec(package) for package in _PACKAGES[name]):
        raise UnavailableError(f"--report-to {name} needs the package {name}", hint=f"pip install {name}")


def reported(
    events: Iterator[dict[str, Any]], name: str | None, out: Path, options: TrainOptions, world: World
) -> Iterator[dict[str, Any]]:
    """The same events; numbers of steps and evaluations go to the tracker as they pass."""
    if name is None or not world.leads:
        yield from events
        return
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # trackers ask it which process they are on
    kind = LOGGER_TYPE_TO_CLASS[name]
    tracker = kind(PROJECT, logging_dir=out) if kind.requires_logging_directory else kind(PROJECT)
    if hasattr(tracker, "start"):
        tracker.start()
    tracker.store_init_configuration({key: _plain(value) for key, value in options.recorded().items()})
    try:
        for event in events:
            if event["event"] in _TAKEN:
                tracker.log(dict(numbers(event)), step=event["step"])
            yield event
    finally:
        tracker.finish()


def numbers(event: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of an event by its path, such as `train/dataset_loss/CIRR`."""
    place = "eval" if event["event"] == "eval" else "train"
    for name, value in event.items():
        if isinstance(value, dict):
            yield from ((f"{place}/{name}/{key}", one) for key, one in value.items())
        elif isinstance(value, (int, float)) and name != "step":
            yield f"{place}/{name}", float(value)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool)) else str(value)
