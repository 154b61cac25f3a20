"""Packs of an encoder, and what fails on the way: memory, bad inputs, states that are no numbers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import golden
from embed_items import EXPECTED
from encoders import TEXTS, inputs, made, refuse
from vlm2vec_cli import checkpoints
from vlm2vec_cli.backbones import Encoded, qwen2_vl
from vlm2vec_cli.encoder import Encoder, Input, Output, encode
from vlm2vec_cli.errors import DataError, UnavailableError, UserError


def passes(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], None] = lambda rows: None) -> list[int]:
    """The number of rows of each forward pass from here on."""
    seen: list[int] = []
    plain = golden.backbone().forward

    def forward(batch: Any) -> torch.Tensor:
        seen.append(len(batch))
        change(len(batch))
        return plain(batch)

    monkeypatch.setattr(golden.backbone(), "forward", forward)
    return seen


def test_equal_inputs_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = passes(monkeypatch)
    found = [*made().encode(inputs(*["t03_plain_candidate"] * 5, "t01_video_query"), refuse)]
    assert seen == [2]
    assert len(found) == 6


def test_packs_keep_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = passes(monkeypatch)
    [*made(batch_tokens=1).encode(inputs(*TEXTS), refuse)]
    assert seen == [1] * 5


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("full"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")],
)
def test_memory_that_runs_out_halves_the_pack(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: RuntimeError
) -> None:
    def full(rows: int) -> None:
        if rows > 1:
            raise error

    seen = passes(monkeypatch, full)
    loaded = made(batch_tokens=4096)
    found = [*loaded.encode(inputs(*TEXTS), refuse)]
    assert seen[0] == 5
    assert max(seen[1:]) <= 3
    assert [one.getMessage().split(":")[0] for one in caplog.records] == ["out of memory"], "said once"
    for name, vector in zip(TEXTS, found, strict=True):
        assert vector is not None
        assert np.abs(vector - EXPECTED[name]).max() <= 2e-5
    assert loaded.batch_tokens < 4096, "later packs are smaller from the start"


def test_one_row_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rows: int) -> None:
        raise torch.OutOfMemoryError("full")

    passes(monkeypatch, full)
    with pytest.raises(UnavailableError) as raised:
        [*made().encode(inputs("t03_plain_candidate"), refuse)]
    number = golden.encoded("t03_plain_candidate").num_tokens
    assert str(raised.value) == f"rows.jsonl line 1: out of memory with this row alone, {number} tokens"
    assert raised.value.hint == "--max-pixels, --num-frames or --max-length makes rows smaller"
    bad = "rows.jsonl line 2: out of memory with this row alone"
    with pytest.raises(UnavailableError, match=bad):
        [*made(batch_tokens=1).encode([*inputs(*TEXTS[:2])][1:], refuse)]


def test_one_pack_that_does_not_fit_shrinks_the_budget_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All packs of the window were planned before it was known."""
    rows = [
        Input({"text": f"{'abcdefgh'[number]} is row {number} of eight"}, Path(), "") for number in range(8)
    ]
    prepared = made().prepared(rows[0])
    assert isinstance(prepared, Encoded)
    num_tokens = prepared.num_tokens

    def full(number: int) -> None:
        if number > 2:
            raise torch.OutOfMemoryError("full")

    seen = passes(monkeypatch, full)
    monkeypatch.setattr(encode, "_FIRST_PACKS", 2)
    loaded = made(batch_tokens=4 * num_tokens)
    assert len([*loaded.encode(rows, refuse)]) == 8
    assert seen == [4, 2, 2, 2, 2]
    assert loaded.batch_tokens == 2 * num_tokens


def test_other_errors_of_the_model_are_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(rows: int) -> None:
        raise RuntimeError("shapes do not match")

    passes(monkeypatch, broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        [*made().encode(inputs(*TEXTS), refuse)]


def test_a_bad_input_comes_after_the_vectors_before_it() -> None:
    bad = Input({"image": "nowhere.png"}, golden.ROOT, "here")
    vectors = made().encode([*inputs(*TEXTS[:2]), bad, *inputs(TEXTS[2])], refuse)
    assert [next(vectors) is None for _ in range(2)] == [False, False]
    with pytest.raises(UserError) as raised:
        next(vectors)
    assert raised.value.place == "here"


def test_an_error_of_the_inputs_comes_after_the_vectors_before_it() -> None:
    def broken() -> Iterator[Input]:
        yield from inputs(*TEXTS[:3])
        raise DataError("not JSON", place="rows.jsonl line 4")

    vectors = made().encode(broken(), refuse)
    assert [next(vectors) is None for _ in range(3)] == [False] * 3
    with pytest.raises(DataError, match="not JSON"):
        next(vectors)


def test_rejected_inputs_leave_a_gap() -> None:
    bad = Input({"image": "nowhere.png"}, golden.ROOT, "here")
    rejected: list[UserError] = []
    rows = [bad, *inputs(*TEXTS[:2]), bad, *inputs(TEXTS[2]), bad]
    found = [*made().encode(rows, rejected.append)]
    assert [vector is None for vector in found] == [True, False, False, True, False, True]
    assert [error.place for error in rejected] == ["here"] * 3


def test_inputs_are_read_a_little_ahead_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_WINDOW_ROWS", 10)
    read = 0

    def endless() -> Iterator[Input]:
        nonlocal read
        while True:
            read += 1
            yield Input({"text": f"row {read}"}, Path(), "")

    vectors = made().encode(endless(), refuse)
    for _ in range(3):
        next(vectors)
    vectors.close()  # type: ignore[attr-defined]  # a generator, though only an iterator is promised
    assert read <= 20, "a window and as much ahead of it"


def test_states_that_are_not_finite_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        golden.backbone(), "forward", lambda batch: torch.full((len(batch), 64), float("nan"))
    )
    with pytest.raises(UnavailableError) as raised:
        [*made().encode(inputs(*TEXTS), refuse)]
    assert raised.value.fact == (
        "the model gives vectors that are not finite: rows.jsonl line 5, rows.jsonl line 4, "
        "rows.jsonl line 2 and 2 more"
    )
    assert raised.value.hint == "the weights are damaged: download the model again"


def test_a_long_text_beside_a_picture_is_refused_too() -> None:
    long = {"text": "word " * 20_000, "image": "images/tiny_10x12.png"}
    for loaded in (
        made(),
        Encoder(limited(64), checkpoints.find(str(golden.MODEL)), golden.media(), Output()),
    ):
        found = loaded.prepared(Input(long, golden.ROOT, "here"))
        assert isinstance(found, DataError)
        assert found.fact == "text has 40,001 tokens, more than the model's 32,768 positions"
        assert found.hint == "no text is cut beside pictures: shorten it"
    enough = Encoder(limited(50_000), checkpoints.find(str(golden.MODEL)), golden.media(), Output())
    assert not isinstance(enough.prepared(Input(long, golden.ROOT, "here")), UserError)


def limited(max_length: int) -> Any:
    return qwen2_vl.load(
        golden.MODEL, golden.MODEL, replace(golden.LIMITS, max_length=max_length), family="vlm2vec-v2",
        dtype=torch.float32, device="cpu",
    )  # fmt: skip
