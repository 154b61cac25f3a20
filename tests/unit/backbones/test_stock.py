"""Every backbone against transformers' own forward pass, alone and with padding on either side."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import golden
from backbones import ALL, PHI3_V, ROOT, Family, qwen3_vl
from vlm2vec_cli import checkpoints

NAMES = {
    "llava_next": ["t1_query", "i5_tiny"],
    "phi3_v": ["t1_query", "i4_wide@crops4"],
    "qwen2_5_vl": ["t1_query", "i1_question", "v1_video"],
    "gme": ["text/t1_query", "fused/rgb_320x240"],
}
SLOW, MANY_TILES = pytest.mark.slow, ("i5_tiny", "i4_wide@crops4")
PADDINGS = ((0, 0), (7, 0), (0, 7))
TOLERANCE = 2e-5


def differences(backbone: Any, row: Any) -> list[float]:
    """Of unit vectors, for each of the paddings."""
    with torch.inference_mode():
        ours = functional.normalize(backbone.forward([row])[0], dim=-1)
        found = [backbone.stock(row, left=left, right=right) for left, right in PADDINGS]
        again = functional.normalize(backbone.forward([row])[0], dim=-1)
    assert torch.equal(ours, again)  # the engine's own attention is back
    return [float((functional.normalize(one, dim=-1) - ours).abs().max()) for one in found]


@pytest.mark.parametrize(
    ("family", "name"),
    [
        pytest.param(family, name, id=f"{family.name}-{name}", marks=SLOW if name in MANY_TILES else ())
        for family in ALL
        for name in NAMES[family.name]
    ],
)
def test_the_packed_way_is_the_stock_models(family: Family, name: str) -> None:
    assert max(differences(family.backbone, family.encoded(name))) <= TOLERANCE


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


def test_a_long_row_of_phi_is_the_stock_models() -> None:
    backbone: Any = PHI3_V.backbone
    row = backbone.encode({"text": "word " * (backbone._short + 20)}, ROOT, golden.media())
    assert row.num_tokens > backbone._short
    assert max(differences(backbone, row)) <= TOLERANCE
