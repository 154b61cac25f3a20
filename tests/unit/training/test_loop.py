"""The run: its events, what is trained and what is not, what it refuses."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import golden
from pairs import DATA, PICTURES, SMALL, events, lora, records, steps, texts, weights
from vlm2vec_cli.errors import DataError, UsageError
from vlm2vec_cli.schemas.event import EVENT
from vlm2vec_cli.training.encodings import Encodings
from vlm2vec_cli.training.loop import _not_finite
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.pairs import Choice, Pairs
from vlm2vec_cli.training.step import backward


def test_events_in_order(tmp_path: Path) -> None:
    found = [
        *events(texts(4), tmp_path / "run", replace(SMALL, max_steps=3, save_steps=1, save_total_limit=1))
    ]
    assert [event["event"] for event in found] == [
        "start", "step", "checkpoint", "step", "checkpoint", "step", "end",
    ]  # fmt: skip
    assert found[0]["pairs"] == 4
    assert found[0]["trainable_parameters"] < found[0]["parameters"]
    known = {field.name for field in EVENT.fields}
    assert all(event.keys() <= known and EVENT.parse({**event}, "1") for event in found)
    assert [event["step"] for event in found if event["event"] == "step"] == [1, 2, 3]
    for event in (event for event in found if event["event"] == "step"):
        assert math.isfinite(event["loss"])
        assert event["dataset_loss"] == {"default": pytest.approx(event["loss"], rel=1e-5)}
        assert event["grad_norm"] > 0
        assert event["pairs_per_s"] > 0
        assert event["tokens_per_s"] > 0
        assert event["learning_rate"] > 0
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


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        # A step so large that every row overflows, on any processor.
        steps(texts(4), tmp_path / "run", replace(SMALL, learning_rate=1e38, warmup_steps=0, full=True))
    assert raised.value.fact in ("loss is nan at step 2", "gradient norm is nan at step 2")
    assert raised.value.place.startswith("pairs.jsonl line ")
    assert raised.value.place.endswith(" and 1 more")
    assert raised.value.hint == "lower --learning-rate"
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(("rows", "place"), [("a", "a"), ("abc", "a, b, c"), ("abcde", "a, b, c and 2 more")])
def test_of_many_rows_that_are_not_finite_three_are_named(rows: str, place: str) -> None:
    assert _not_finite("loss", math.nan, 1, list(rows)).place == place


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
