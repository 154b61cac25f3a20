"""Inputs to vectors in order, whatever fails on the way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import golden
from vlm2vec_cli import adapters, checkpoints, encoder
from vlm2vec_cli.backbones import Encoded, qwen2_vl
from vlm2vec_cli.encoder import Encoder, Input, Output, encode
from vlm2vec_cli.errors import DataError, MissingError, UnavailableError, UsageError, UserError

IDS = golden.facts()["ids"]
EXPECTED = dict(zip(IDS, golden.arrays()["emb_single"], strict=True))
SHORT = [name for name in IDS if name not in ("i02_cls_448",)]
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


@settings(max_examples=10)
@given(st.lists(st.sampled_from(SHORT), min_size=1, max_size=12), st.integers(1, 900))
def test_any_mixture_in_any_order_and_budget(names: list[str], batch_tokens: int) -> None:
    """All but the largest picture, which costs more than all others together."""
    found = [*made(batch_tokens=batch_tokens).encode(inputs(*names), refuse)]
    assert all(
        np.abs(vector - EXPECTED[name]).max() <= 2e-5 for name, vector in zip(names, found, strict=True)
    )


@settings(max_examples=5)
@given(st.lists(st.sampled_from(SHORT), min_size=2, max_size=8, unique=True))
def test_a_vector_hardly_depends_on_its_neighbours(names: list[str]) -> None:
    encoded = [golden.encoded(name) for name in names]
    together = made().forward(encoded)
    alone = np.concatenate([made().forward([one]) for one in encoded])
    assert np.abs(together - alone).max() <= 1e-6


def test_questions_on_one_picture_are_as_if_alone() -> None:
    loaded = made()
    rows = [{"image": "images/rgba_180x240.png", "text": f"question {n} of it"} for n in range(4)]
    one = [Input(row, golden.ROOT, "") for row in [*rows, {"text": "question 1 of it"}]]
    together = [*loaded.encode(one, refuse)]
    for each, vector in zip(one, together, strict=True):
        (alone,) = loaded.encode([each], refuse)
        assert alone is not None
        assert vector is not None
        assert np.abs(alone - vector).max() <= 1e-6


def test_pictures_are_seen_once_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = golden.fresh()
    backbone.model.requires_grad_(False)
    found = checkpoints.find(str(golden.MODEL))
    loaded = Encoder(backbone, found, golden.media(), Output(), batch_tokens=40)
    seen: list[str] = []
    plain = backbone._see._look

    def look(visuals: Any) -> torch.Tensor:
        seen.extend(visual.key for visual in visuals)
        result: torch.Tensor = plain(visuals)
        return result

    monkeypatch.setattr(backbone._see, "_look", look)
    monkeypatch.setattr(encode, "_FIRST_PACKS", 99)
    rows = [
        Input({"image": name, "text": f"{n} is a question"}, golden.ROOT, "")
        for n in range(8)
        for name in ("images/rgba_180x240.png", "images/tiny_10x12.png")
    ]
    assert len([*loaded.encode(rows, refuse)]) == 16
    assert len(seen) == 2


def test_long_inputs_pass_alone(tmp_path: Path) -> None:
    pictures = []
    for number in range(64):
        Image.new("RGB", (56, 56), (4 * number, 0, 0)).save(tmp_path / f"{number:02}.png")
        pictures.append(f"{number:02}.png")
    rows = [{"video": pictures, "num_frames": 64}, {"image": pictures[:20], "text": "pages"}]
    found = {}
    for batch_tokens in (1, 4096):
        loaded = made(batch_tokens=batch_tokens)
        found[batch_tokens] = [*loaded.encode([Input(row, tmp_path, "") for row in rows], refuse)]
    for small, large in zip(found[1], found[4096], strict=True):
        assert small is not None
        assert large is not None
        assert np.abs(small - large).max() <= 1e-6


def test_half_precision_points_the_same_way() -> None:
    loaded = qwen2_vl.load(
        golden.MODEL, golden.MODEL, golden.LIMITS, family="vlm2vec-v2", dtype=torch.bfloat16, device="cpu"
    )
    with torch.inference_mode():
        states = loaded.forward([golden.encoded(name) for name in SHORT]).float()
    unit = torch.nn.functional.normalize(states, dim=-1).numpy()
    for name, vector in zip(SHORT, unit, strict=True):
        assert vector @ EXPECTED[name] > 0.999


def test_the_engine_agrees_with_stock_transformers() -> None:
    found = encoder.check(made(), [*inputs(*SHORT)])
    assert set(found) == {"alone", "stock", "left", "right"}
    assert 0 < max(found.values()) <= 2e-5


def test_a_check_notices_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = made()
    plain = loaded.backbone.stock
    monkeypatch.setattr(
        golden.backbone(), "stock", lambda one, **padding: plain(one, **padding) * 1.001 + 0.001
    )
    with pytest.raises(UnavailableError, match=r"--check: vectors deviate by .* \(\w+\), more than 2e-05"):
        encoder.check(loaded, [*inputs(TEXTS[0])])
    monkeypatch.undo()
    unadapted = replace(checkpoints.find(str(golden.ADAPTER)))
    loaded = Encoder(golden.backbone(), unadapted, golden.media(), Output(), workers=0)
    with pytest.raises(UnavailableError, match="--check: the adapter changes nothing"):
        encoder.check(loaded, [*inputs(TEXTS[0])])
    declared = replace(checkpoints.find(str(golden.MODEL)), meta={"dimension": 7})
    loaded = Encoder(golden.backbone(), declared, golden.media(), Output(), workers=0)
    with pytest.raises(UnavailableError, match=r"vectors have 64 numbers, 7 are declared"):
        encoder.check(loaded, [*inputs(TEXTS[0])])


def test_a_check_sees_an_adapter_of_which_rounding_is_all_that_is_left() -> None:
    """DoRA scales the weights by norms that it has stored, which changes their last bits."""
    backbone = golden.fresh()
    adapted = adapters.create(
        backbone.model, r=2, alpha=4, dropout=0.0, targets=["vlm2vec-v2"], dora=True, seed=0
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "magnitude" in name:
                parameter *= 1 + 1e-7
    backbone.model = adapted.merge_and_unload()
    backbone.model.eval()
    found = checkpoints.find(str(golden.ADAPTER))
    loaded = Encoder(backbone, found, golden.media(), Output(), workers=0)
    plain = golden.backbone().model.state_dict()
    assert any(not torch.equal(one, plain[name]) for name, one in backbone.model.state_dict().items())
    with pytest.raises(UnavailableError, match="--check: the adapter changes nothing"):
        encoder.check(loaded, [*inputs(*TEXTS)])


def test_a_check_that_compares_nothing_is_refused() -> None:
    bad = Input({"image": "nowhere.png"}, golden.ROOT, "here")
    with pytest.raises(MissingError, match=r"here: image nowhere.png: no such file"):
        encoder.check(made(), [bad, bad])
    with pytest.raises(DataError, match="--check: there are no rows"):
        encoder.check(made(), [])
    declared = replace(checkpoints.find(str(golden.MODEL)), meta={"dimension": 7})
    loaded = Encoder(golden.backbone(), declared, golden.media(), Output(), workers=0)
    with pytest.raises(UnavailableError, match=r"vectors have 64 numbers, 7 are declared"):
        encoder.check(loaded, [bad])


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
    vectors.close()  # type: ignore[attr-defined]
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


def test_texts_for_a_tokenizer() -> None:
    contents = [{"instruction": "i", "text": "a"}, {"image": "x.png"}, {"text": ""}, {"text": "b"}]
    assert [*encoder.texts_of(contents)] == ["i", "a", "b"]
