"""The run: its schedule, stopping and going on to the bit, what is trained and what is not."""

import json
import math
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import golden
from pairs import PICTURES, events, lora, records, texts
from vlm2vec_cli.errors import DataError, MissingError, StoppedError, UnavailableError, UsageError, UserError
from vlm2vec_cli.training import optimizer
from vlm2vec_cli.training.encodings import Encodings
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.optimizer import learning_rate, num_steps
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Choice, Pairs
from vlm2vec_cli.training.sampling import Sampler
from vlm2vec_cli.training.step import backward

SMALL = TrainOptions(
    max_steps=6, batch_size=4, chunk_tokens=40, warmup_steps=2, learning_rate=1e-3, lora_r=2, save_steps=0
)
DATA = [*texts(3), *PICTURES[:2]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = [*folder.glob("*model.safetensors")]
    return load_file(path)


def same(one: Path, other: Path) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def steps(rows: list[dict[str, Any]], out: Path, options: TrainOptions, **more: Any) -> list[dict[str, Any]]:
    return [event for event in events(rows, out, options, **more) if event["event"] == "step"]


# ----------------------------------------------------------------------------- schedule


def test_rates_rise_to_the_given_one_and_fall_to_zero() -> None:
    options = TrainOptions(learning_rate=1.0, warmup_steps=4)
    assert [learning_rate(options, step, 12) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    linear = [learning_rate(options, step, 12) for step in range(4, 12)]
    assert linear == pytest.approx([1 - step / 8 for step in range(8)])
    cosine = replace(options, schedule="cosine")
    assert learning_rate(cosine, 8, 12) == pytest.approx(0.5)
    assert learning_rate(replace(options, schedule="constant"), 11, 12) == 1.0


def test_epochs_are_whole_steps_rounded_up() -> None:
    in_one = Sampler(["a"] * 10, 4, 0).steps_per_epoch
    assert num_steps(TrainOptions(epochs=1), in_one) == 3
    assert num_steps(TrainOptions(epochs=2), in_one) == 5
    assert num_steps(TrainOptions(epochs=0.01), in_one) == 1
    assert num_steps(TrainOptions(epochs=2, max_steps=0), in_one) == 0


def test_matrices_decay_and_vectors_do_not() -> None:
    backbone = golden.fresh()
    made = optimizer.create(backbone.model, TrainOptions(full=True, weight_decay=0.1))
    for group in made.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
    lora(backbone, SMALL)
    adapter_only = optimizer.create(backbone.model, replace(SMALL, full=False, dora=False))
    number = sum(parameter.numel() for group in adapter_only.param_groups for parameter in group["params"])
    assert number < sum(parameter.numel() for parameter in backbone.model.parameters()) / 2


# ----------------------------------------------------------------------- events and weights


def test_events_in_order(tmp_path: Path) -> None:
    found = [
        *events(texts(4), tmp_path / "run", replace(SMALL, max_steps=3, save_steps=1, save_total_limit=1))
    ]
    assert [event["event"] for event in found] == [
        "start", "step", "checkpoint", "step", "checkpoint", "step", "end",
    ]  # fmt: skip
    assert found[0]["pairs"] == 4
    assert found[0]["trainable_parameters"] < found[0]["parameters"]
    assert [event["step"] for event in found if event["event"] == "step"] == [1, 2, 3]
    for event in (event for event in found if event["event"] == "step"):
        assert math.isfinite(event["loss"])
        assert event["dataset_loss"] == {"default": pytest.approx(event["loss"], rel=1e-5)}
        assert event["grad_norm"] > 0
        assert event["tokens_per_s"] > 0
        assert event["peak_memory_mb"] > 10
        assert 0 <= event["waiting_share"] <= 1
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    meta = json.loads((tmp_path / "run" / "vlm2vec.json").read_text())
    assert (meta["step"], meta["options"]["lora_r"], meta["normalize"]) == (3, 2, True)


@pytest.mark.parametrize("kind", [{"full": True}, {"dora": True}, {"dora": False}], ids=str)
def test_weights_change_and_the_loss_falls(tmp_path: Path, kind: dict[str, bool]) -> None:
    options = replace(SMALL, max_steps=8, lora_dropout=0.0, learning_rate=3e-3, batch_size=6, **kind)
    losses = [event["loss"] for event in steps(texts(6), tmp_path / "run", options)]
    assert losses[-1] < losses[0]
    after = weights(tmp_path / "run")
    if options.full:
        before = load_file(golden.MODEL / "model.safetensors")
        moved = [name for name in before if not torch.equal(before[name], after[name])]
        assert {"model.norm.weight", "model.layers.0.mlp.up_proj.weight"} <= set(moved)
    else:
        assert all("lora_" in name for name in after)
        assert all(tensor.any() for name, tensor in after.items() if "lora_B" in name)
        assert any("magnitude" in name for name in after) == options.dora


def test_no_steps_leave_the_model_as_it_was(tmp_path: Path) -> None:
    assert steps(texts(2), tmp_path / "run", replace(SMALL, max_steps=0, full=True)) == []
    before, after = load_file(golden.MODEL / "model.safetensors"), weights(tmp_path / "run")
    assert all(torch.equal(before[name], after[name]) for name in after)


@pytest.mark.parametrize("full", [False, True])
def test_gradient_checkpointing_changes_nothing(tmp_path: Path, full: bool) -> None:
    options = replace(SMALL, max_steps=2, full=full, lora_dropout=0.0)
    plain = steps(DATA, tmp_path / "plain", options)
    saving = steps(DATA, tmp_path / "saving", replace(options, gradient_checkpointing=True))
    for one, other in zip(plain, saving, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
    left, right = weights(tmp_path / "plain"), weights(tmp_path / "saving")
    assert all(torch.allclose(left[name], right[name], atol=1e-4) for name in left)


def test_chunks_and_whole_batches_take_the_same_steps(tmp_path: Path) -> None:
    options = replace(SMALL, max_steps=2, lora_dropout=0.0)
    runs = [
        steps(DATA, tmp_path / str(number), one)
        for number, one in enumerate((options, replace(options, grad_cache=False)))
    ]
    for one, other in zip(*runs, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)


def test_a_frozen_vision_tower_sees_each_picture_once_a_step() -> None:
    backbone = golden.fresh()
    lora(backbone, SMALL)
    seen: list[int] = []
    backbone.model.visual.register_forward_hook(lambda module, given, out: seen.append(1))
    encodings = Encodings(backbone, golden.media(), workers=1, budget=1 << 28)
    pairs = Pairs(records(PICTURES))
    made, objective = pairs.batch(range(4), Choice()), Objective(SMALL)
    value = backward(made, backbone, encodings, objective, chunk_tokens=1, autocast=_exact).loss
    assert len(seen) == 4
    again = backward(made, backbone, encodings, objective, chunk_tokens=None, autocast=_exact).loss
    assert len(seen) == 5, "nothing is kept from one step to the next"
    assert again == pytest.approx(value, rel=1e-5)


def _exact() -> torch.autocast:
    return torch.autocast("cpu", enabled=False)


# ----------------------------------------------------------------------- stopping, going on


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
    next(running)
    next(running)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    running.close()  # type: ignore[attr-defined]


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
    assert [event["loss"] for event in rest] != []
    assert rest[0]["step"] == 2
    assert len(whole) == 3


# ------------------------------------------------------------------------- media that cannot be read


def test_rows_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    lost = {"query": {"image": "nowhere.png"}, "positive": {"text": "a"}}
    rows = [*texts(3), lost, {**texts(4)[3], "negatives": [lost["query"]]}]
    refused: list[UserError] = []
    options = replace(SMALL, batch_size=5, max_steps=2, lora_dropout=0.2)
    found = steps(rows, tmp_path / "run", options, reject=refused.append)
    assert sorted(error.place for error in refused) == ["pairs.jsonl line 4", "pairs.jsonl line 5"]
    assert all(error.fact.startswith("image nowhere.png: ") for error in refused)
    assert [event["rows_left_out"] for event in found] == [2, 2]
    alone = steps(texts(3), tmp_path / "alone", replace(options, batch_size=3))
    assert found[0]["loss"] == pytest.approx(alone[0]["loss"], rel=1e-5), "as if the rows were not there"
    with pytest.raises(DataError, match="no row of step 1 can be read"):
        steps([lost], tmp_path / "none", options, reject=refused.append)


def test_a_run_with_unreadable_rows_goes_on_to_the_bit(tmp_path: Path) -> None:
    rows = [*texts(5), {"query": {"image": "nowhere.png"}, "positive": {"text": "a"}}]
    options = replace(SMALL, max_steps=4, lora_dropout=0.3, batch_size=4)
    whole = steps(rows, tmp_path / "whole", options, reject=lambda error: None)
    steps(rows, tmp_path / "cut", replace(options, max_steps=3, save_steps=2), reject=lambda error: None)
    rest = steps(rows, tmp_path / "cut", options, reject=lambda error: None)
    assert [event["loss"] for event in rest] == [event["loss"] for event in whole[2:]]
    assert same(tmp_path / "whole", tmp_path / "cut")


# ---------------------------------------------------------------------------------- refusals


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        steps(texts(4), tmp_path / "run", replace(SMALL, learning_rate=1e30, warmup_steps=0, full=True))
    assert raised.value.fact in ("loss is nan at step 2", "gradient norm is nan at step 2")
    assert raised.value.place.startswith("pairs.jsonl line ")
    assert raised.value.place.endswith(" and 1 more")
    assert raised.value.hint == "lower --learning-rate"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_picture_that_is_missing_is_named_with_its_row(tmp_path: Path) -> None:
    rows = [*texts(1), {"query": {"image": "nowhere.png"}, "positive": {"text": "a"}}]
    with pytest.raises(MissingError) as raised:
        steps(rows, tmp_path / "run", SMALL)
    assert raised.value.place == "pairs.jsonl line 2"
    assert raised.value.fact.startswith("image nowhere.png: ")


@pytest.mark.parametrize("dims", [(16, 65), (0,)])
def test_dimensions_that_the_model_has_not(tmp_path: Path, dims: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"--matryoshka: expected 1 to 64, got (65|0)"):
        steps(texts(2), tmp_path / "run", replace(SMALL, matryoshka=dims))


def test_matryoshka_is_the_mean_over_dimensions(tmp_path: Path) -> None:
    def first(*dims: int) -> float:
        options = replace(SMALL, max_steps=1, lora_dropout=0.0, matryoshka=dims)
        return float(steps(texts(4), tmp_path / str(dims), options)[0]["loss"])

    assert first(64, 16) == pytest.approx((first(64) + first(16)) / 2, rel=1e-5)
    assert first() == pytest.approx(first(64), rel=1e-6)


def test_weights_of_pairs_are_relative(tmp_path: Path) -> None:
    def first(*weight: float) -> float:
        rows = [{**row, "weight": one} for row, one in zip(texts(2), weight, strict=True)]
        options = replace(SMALL, max_steps=1, lora_dropout=0.0, batch_size=2)
        return float(steps(rows, tmp_path / str(weight), options)[0]["loss"])

    one, other = first(1, 0), first(0, 1)
    assert first(1, 1) == pytest.approx((one + other) / 2, rel=1e-5)
    assert first(3, 1) == pytest.approx((3 * one + other) / 4, rel=1e-5)
    assert first(0, 0) == 0
