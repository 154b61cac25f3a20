"""Inputs to vectors in order, alike in any company, and the check of them against stock transformers."""

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
from embed_items import EXPECTED, SHORT
from encoders import TEXTS, inputs, made, refuse
from vlm2vec_cli import adapters, checkpoints, encoder
from vlm2vec_cli.backbones import qwen2_vl
from vlm2vec_cli.encoder import Encoder, Input, Output, encode
from vlm2vec_cli.errors import DataError, MissingError, UnavailableError, UsageError


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
