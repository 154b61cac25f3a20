"""Inputs to vectors in order, whatever fails on the way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import golden
from vlm2vec_cli import checkpoints, encoder
from vlm2vec_cli.encoder import Encoder, Input, Output, devices, encode
from vlm2vec_cli.errors import DataError, UnavailableError, UsageError, UserError

IDS = golden.facts()["ids"]
EXPECTED = dict(zip(IDS, golden.arrays()["emb_single"], strict=True))
TEXTS = ["t01_video_query", "t03_plain_candidate", "t05_non_ascii", "i04_tiny_10x12", "i10_rgba"]


def made(**options: Any) -> Encoder:
    output = options.pop("output", Output())
    found = checkpoints.find(str(golden.MODEL))
    return Encoder(golden.backbone(), found, golden.media(), output, **{"workers": 1, **options})


def inputs(*names: str) -> Iterator[Input]:
    for number, name in enumerate(names, start=1):
        yield Input(golden.content(name), golden.ROOT, f"rows.jsonl line {number}")


def refuse(error: UserError) -> None:
    raise error


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


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("batch_tokens", [1, 60, 4096])
def test_vectors_come_in_order(workers: int, batch_tokens: int) -> None:
    names = [*TEXTS, *TEXTS[::-1]]
    found = [*made(workers=workers, batch_tokens=batch_tokens).encode(inputs(*names), refuse)]
    for name, vector in zip(names, found, strict=True):
        assert vector is not None
        assert vector.dtype == np.float32
        assert np.abs(vector - EXPECTED[name]).max() <= 2e-5


def test_no_inputs_give_no_vectors() -> None:
    assert [*made().encode(iter(()), refuse)] == []


def test_equal_inputs_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = passes(monkeypatch)
    found = [*made().encode(inputs(*["t03_plain_candidate"] * 5, "t01_video_query"), refuse)]
    assert seen == [2]
    assert len(found) == 6


def test_packs_keep_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = passes(monkeypatch)
    [*made(batch_tokens=1).encode(inputs(*TEXTS), refuse)]
    assert seen == [1] * 5


def test_memory_that_runs_out_halves_the_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rows: int) -> None:
        if rows > 2:
            raise torch.OutOfMemoryError("full")

    seen = passes(monkeypatch, full)
    loaded = made(batch_tokens=4096)
    found = [*loaded.encode(inputs(*TEXTS), refuse)]
    assert seen[0] == 5
    assert max(seen[1:]) <= 3
    for name, vector in zip(TEXTS, found, strict=True):
        assert vector is not None
        assert np.abs(vector - EXPECTED[name]).max() <= 2e-5
    assert loaded.batch_tokens < 4096, "later packs are smaller from the start"


def test_one_row_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rows: int) -> None:
        raise torch.OutOfMemoryError("full")

    passes(monkeypatch, full)
    with pytest.raises(torch.OutOfMemoryError):
        [*made().encode(inputs("t03_plain_candidate"), refuse)]


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
    vectors.close()  # type: ignore[attr-defined]
    assert read <= 20, "a window and as much ahead of it"


def test_states_that_are_not_finite_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        golden.backbone(), "forward", lambda batch: torch.full((len(batch), 64), float("nan"))
    )
    with pytest.raises(UnavailableError, match="the model gives vectors that are not finite"):
        [*made().encode(inputs(TEXTS[0]), refuse)]


def test_the_fingerprint_is_of_all_that_decides_a_vector(tmp_path: Path) -> None:
    base = made().fingerprint
    assert made(batch_tokens=7, workers=3).fingerprint == base
    assert made(output=Output(dim=16)).fingerprint != base
    assert made(output=Output(normalize=False)).fingerprint != base
    adapted = checkpoints.find(str(golden.ADAPTER))
    assert Encoder(golden.backbone(), adapted, golden.media(), Output()).fingerprint != base
    renamed = replace(checkpoints.find(str(golden.MODEL)), name="other")
    assert Encoder(golden.backbone(), renamed, golden.media(), Output()).fingerprint == base


@pytest.mark.parametrize("dim", [0, 65])
def test_dimensions_that_the_model_has_not(dim: int) -> None:
    with pytest.raises(UsageError, match=rf"--dim: expected 1 to 64, got {dim}"):
        made(output=Output(dim=dim))


@pytest.mark.parametrize(
    ("plain", "half", "expected"),
    [
        (1.0, 0.1, torch.bfloat16),
        (1.0, 0.6, torch.bfloat16),
        (1.0, 0.7, torch.float32),
        (1.0, 9, torch.float32),
    ],
)
def test_auto_takes_bfloat16_where_it_is_much_faster(
    monkeypatch: pytest.MonkeyPatch, plain: float, half: float, expected: torch.dtype
) -> None:
    seconds = {torch.float32: plain, torch.bfloat16: half}
    monkeypatch.setattr(devices, "_matmul_seconds", lambda number, device: seconds[number])
    assert encoder.pick_dtype("auto", torch.device("cpu")) is expected
    assert encoder.pick_dtype("float16", torch.device("cpu")) is torch.float16


def test_auto_measures_something() -> None:
    assert encoder.pick_dtype("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)


def test_devices() -> None:
    assert encoder.pick_device("cpu") == torch.device("cpu")
    assert encoder.pick_device("auto").type in ("cpu", "cuda", "mps", "xpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(UsageError) as raised:
            encoder.pick_device(name)
        assert raised.value.fact.startswith(f"--device {name}: ")
        assert raised.value.hint == "auto, cpu, cuda, cuda:1 or mps"


def test_texts_for_a_tokenizer() -> None:
    contents = [{"instruction": "i", "text": "a"}, {"image": "x.png"}, {"text": ""}, {"text": "b"}]
    assert [*encoder.texts_of(contents)] == ["i", "a", "b"]
