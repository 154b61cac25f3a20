"""Runs that stop and go on to the bit, and checkpoints that they may not or cannot use."""

import os
import resource
import signal
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairs import DATA, SMALL, events, same, steps, texts
from vlm2vec_cli.errors import DataError, StoppedError, UnavailableError, UsageError


@pytest.mark.parametrize(
    "kind", [{"full": True, "augment": "strong"}, {"dora": True, "schedule": "cosine"}], ids=str
)
def test_a_run_stopped_by_a_signal_goes_on_to_the_same_weights(tmp_path: Path, kind: dict[str, Any]) -> None:
    options = replace(SMALL, **kind)
    whole = steps(DATA, tmp_path / "whole", options)
    running = events(DATA, tmp_path / "cut", options)
    before = signal.getsignal(signal.SIGTERM)
    cut: list[dict[str, Any]] = []
    with pytest.raises(StoppedError) as raised:
        _until_stopped(running, cut)
    assert signal.getsignal(signal.SIGTERM) is before
    assert raised.value.fact == "stopped by SIGTERM after step 3"
    assert raised.value.hint == "run the same command again to go on"
    assert cut[-1]["event"] == "checkpoint"
    assert not (tmp_path / "cut" / "vlm2vec.json").exists(), "the run is not done"
    rest = steps(DATA, tmp_path / "cut", options)
    assert [event["step"] for event in rest] == [4, 5, 6]
    losses = [event["loss"] for event in cut if event["event"] == "step"] + [event["loss"] for event in rest]
    assert losses == [event["loss"] for event in whole]
    assert same(tmp_path / "whole", tmp_path / "cut")


def _until_stopped(running: Iterator[dict[str, Any]], seen: list[dict[str, Any]]) -> None:
    """Asks the run to stop when its third step is done."""
    for event in running:
        seen.append(event)
        if event["event"] == "step" and event["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    running = events(texts(4), tmp_path / "run", SMALL)
    assert isinstance(running, Generator)
    next(running)
    next(running)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    running.close()


@pytest.mark.parametrize(
    ("rows", "change", "fact"),
    [
        (texts(5), {}, "the training data is not what this run began with"),
        (texts(4), {"learning_rate": 1.0, "seed": 3}, "options differ from the run in "),
        (texts(4), {"full": True}, "options differ from the run in "),
        (texts(4), {"lora_r": 4}, "options differ from the run in "),
    ],
)
def test_other_data_and_options_are_refused(
    tmp_path: Path, rows: list[dict[str, Any]], change: dict[str, Any], fact: str
) -> None:
    steps(texts(4), tmp_path / "run", replace(SMALL, max_steps=2, save_steps=1))
    with pytest.raises((DataError, UsageError)) as raised:
        steps(rows, tmp_path / "run", replace(SMALL, max_steps=2, save_steps=1, **change))
    assert raised.value.fact.startswith(fact)
    assert raised.value.fact.endswith(", ".join(sorted(change)))
    assert raised.value.hint.startswith("--resume none starts anew, --allow-changed ")
    anew = steps(rows, tmp_path / "run", replace(SMALL, max_steps=1, **change), resume="none")
    assert [event["step"] for event in anew] == [1]


def test_other_lengths_and_chunks_are_welcome(tmp_path: Path) -> None:
    steps(texts(4), tmp_path / "run", replace(SMALL, max_steps=2, save_steps=1))
    more = replace(SMALL, max_steps=3, chunk_tokens=1000, save_steps=2)
    assert [event["step"] for event in steps(texts(4), tmp_path / "run", more)] == [2, 3]


def test_what_has_changed_may_be_allowed_by_name(tmp_path: Path) -> None:
    steps(texts(4), tmp_path / "run", replace(SMALL, max_steps=2, save_steps=1))
    other = replace(SMALL, max_steps=3, learning_rate=1e-4)
    more = {"allow_changed": ("learning-rate", "data")}
    assert [event["step"] for event in steps(texts(5), tmp_path / "run", other, **more)] == [2, 3]
    with pytest.raises(UsageError, match="--allow-changed: no option 'learning_rat'") as raised:
        steps(texts(5), tmp_path / "run", other, allow_changed=("learning-rat",))
    assert raised.value.hint.startswith("did you mean 'learning_rate'")


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    """The limit on the size of a file stands for the disk; its signal has to be ignored, as Python does."""
    options = replace(SMALL, save_steps=1)
    running = events(texts(4), tmp_path / "run", options)
    seen = [next(event for event in running if event["event"] == "checkpoint")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UnavailableError, match="cannot be written: ") as raised:
            seen.extend(running)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.place == str(tmp_path / "run" / "checkpoint-2")
    assert raised.value.hint == "earlier checkpoints are intact"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint-1"]
    rest = steps(texts(4), tmp_path / "run", replace(options, max_steps=3, save_steps=0))
    whole = steps(texts(4), tmp_path / "whole", replace(options, max_steps=3, save_steps=0))
    assert [event["step"] for event in rest] == [2, 3]
    assert [event["loss"] for event in rest] == [event["loss"] for event in whole[1:]]
    assert same(tmp_path / "run", tmp_path / "whole")
