"""Transformers' own forward pass, alone and padded on either side, gives the references' vectors, too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import golden
from backbones import ALL, PHI3_V, ROOT, Family, qwen3_vl
from vlm2vec_cli import checkpoints

SLOW = pytest.mark.slow
PADDINGS = ((0, 0), (7, 0), (0, 7))
TOLERANCE = 2e-5
EVERY = [(family, name) for family in ALL for name in family.ids]


def cases(*, slow_above: int | None = None) -> list[Any]:
    """Every golden input; `slow` from so many tokens on."""
    return [
        pytest.param(
            family,
            name,
            id=f"{family.name}-{name}",
            marks=SLOW if slow_above and family.inputs[name]["n_tokens"] > slow_above else (),
        )
        for family, name in EVERY
    ]


def unit(state: torch.Tensor) -> torch.Tensor:
    return functional.normalize(state, dim=-1)


@torch.inference_mode()
def differences(backbone: Any, row: Any) -> list[float]:
    """Of unit vectors from the engine's, for each of the paddings."""
    ours = unit(backbone.forward([row])[0])
    found = [backbone.stock(row, left=left, right=right) for left, right in PADDINGS]
    assert torch.equal(ours, unit(backbone.forward([row])[0]))  # the engine's own attention is back
    return [float((unit(one) - ours).abs().max()) for one in found]


def distance(family: Family, name: str, **padding: int) -> float:
    """Of the stock model's unit vector from the reference's."""
    backbone: Any = family.backbone
    with torch.inference_mode():
        vector = unit(backbone.stock(family.encoded(name), **padding)).numpy()
    return float(np.abs(vector - family.arrays[f"emb/{name}"]).max())


@pytest.mark.parametrize(("family", "name"), cases())
def test_the_stock_model_alone_gives_the_references_vector(family: Family, name: str) -> None:
    assert distance(family, name) <= TOLERANCE


@pytest.mark.parametrize(("family", "name"), cases(slow_above=1000))
def test_the_stock_model_gives_it_beside_longer_rows(family: Family, name: str) -> None:
    assert distance(family, name, left=7) <= TOLERANCE
    assert distance(family, name, right=7) <= TOLERANCE


@pytest.mark.parametrize(
    "content",
    [{"text": "A cat."}, {"image": "images/rgb_320x240.png", "video": "qwen2_5_vl/frames", "text": "both"}],
    ids=["text", "picture and clip"],
)
def test_positions_of_qwen3_are_the_stock_models_own(content: dict[str, Any], tmp_path: Path) -> None:
    qwen3_vl(tmp_path)
    found = checkpoints.find(str(tmp_path))
    backbone = checkpoints.load(found, found.limits(max_pixels=65536), dtype=torch.float32, device="cpu")
    row = backbone.encode(content, ROOT, golden.media())
    assert max(differences(backbone, row)) <= TOLERANCE


@SLOW
def test_a_long_row_of_phi_is_the_stock_models() -> None:
    backbone: Any = PHI3_V.backbone
    row = backbone.encode({"text": "word " * (backbone._short + 20)}, ROOT, golden.media())
    assert row.num_tokens > backbone._short
    assert max(differences(backbone, row)) <= TOLERANCE
