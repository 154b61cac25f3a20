"""Qwen3-VL against the stock model on random weights: chat layout, positions, added features, pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import golden
from backbones import ROOT, qwen3_vl
from vlm2vec_cli import checkpoints
from vlm2vec_cli.backbones.qwen2_vl import normalised

IMAGE, VIDEO = 1012, 1013
PICTURES = ["images/rgb_320x240.png", "images/tiny_20x16.png"]
FRAMES = [f"qwen2_5_vl/frames/frame_{number}.png" for number in range(3)]
ROWS: dict[str, dict[str, Any]] = {
    "text": {"text": "A cat and a dog."},
    "picture": {"image": PICTURES[0], "text": "What is in the image", "instruction": "Find a caption"},
    "placed": {"image": PICTURES, "text": "first <image> then <image>, please"},
    "clip": {"video": FRAMES, "text": "What happens"},
    "both": {"video": FRAMES, "image": PICTURES[1]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("qwen3")
    qwen3_vl(made)
    return made


def load(folder: Path) -> Any:
    found = checkpoints.find(str(folder))
    assert found.meta["prompt_family"] == "qwen3-vl"
    return checkpoints.load(found, found.limits(max_pixels=65536), dtype=torch.float32, device="cpu")


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Any:
    return load(folder)


def encode(backbone: Any, name: str) -> Any:
    return backbone.encode(ROWS[name], ROOT, golden.media())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "text",
            "<|im_start|>system\nRepresent the user's input.<|im_end|>\n"
            "<|im_start|>user\nA cat and a dog.<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "picture",
            "<|im_start|>system\nFind a caption.<|im_end|>\n<|im_start|>user\n"
            "<|vision_start|><|image_pad|><|vision_end|>What is in the image<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
        (
            "clip",
            "<|im_start|>system\nRepresent the user's input.<|im_end|>\n<|im_start|>user\n"
            "<0.2 seconds><|vision_start|><|video_pad|><|vision_end|>"
            "<1.2 seconds><|vision_start|><|video_pad|><|vision_end|>What happens<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
    ],
)
def test_the_chat_layout(backbone: Any, name: str, expected: str) -> None:
    encoded = encode(backbone, name)
    follows = np.flatnonzero(np.diff(encoded.slots) == 1) + 1  # of a visual's tokens, one is kept
    assert backbone.tokenizer.decode(np.delete(encoded.ids, encoded.slots[follows])) == expected


@pytest.mark.parametrize("name", ROWS)
def test_positions_are_the_stock_models(backbone: Any, folder: Path, name: str) -> None:
    encoded = encode(backbone, name)
    given = _given(encoded)
    positions, _ = qwen3_vl(folder).model.get_rope_index(
        given["input_ids"],
        given["mm_token_type_ids"],
        given.get("image_grid_thw"),
        given.get("video_grid_thw"),
    )
    assert np.array_equal(backbone.positions(encoded), positions[:, 0].numpy())


@pytest.mark.parametrize("name", ROWS)
def test_states_are_the_stock_models(backbone: Any, folder: Path, name: str) -> None:
    encoded = encode(backbone, name)
    with torch.inference_mode():
        expected = qwen3_vl(folder).model(**_given(encoded)).last_hidden_state[0, -1]
        ours = backbone.forward([encoded])[0]
    # Normalised as embeddings are: the states of these weights reach 5.
    assert torch.allclose(unit(ours), unit(expected), atol=2e-5)


def unit(states: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(states, dim=-1)


def test_a_state_does_not_depend_on_its_neighbours(backbone: Any) -> None:
    rows = [encode(backbone, name) for name in ROWS]
    with torch.inference_mode():
        alone = unit(torch.cat([backbone.forward([row]) for row in rows]))
        assert torch.allclose(unit(backbone.forward(rows)), alone, atol=2e-5)
        assert torch.allclose(unit(backbone.forward(rows[::-1])), alone.flip(0), atol=2e-5)


def test_pixels_are_the_stock_processors(backbone: Any) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": backbone.limits.min_pixels, "longest_edge": backbone.limits.max_pixels},
        patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    for reference in PICTURES:
        (visual,) = backbone.encode({"image": reference}, ROOT, golden.media()).visuals
        theirs = processor([golden.media().image(reference, ROOT)], return_tensors="pt")
        ours = normalised(torch.from_numpy(visual.patches), backbone.MEAN, backbone.STD)
        assert theirs["image_grid_thw"].tolist() == [list(visual.grid)]
        assert torch.allclose(ours, theirs["pixel_values"], atol=1e-6)


def test_a_saved_model_loads_again(backbone: Any, folder: Path, tmp_path: Path) -> None:
    backbone.save(tmp_path / "full")
    encoded = encode(backbone, "both")
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "full").forward([encoded]), backbone.forward([encoded]))
    saved = json.loads((tmp_path / "full" / "preprocessor_config.json").read_bytes())
    assert (saved["patch_size"], saved["image_mean"]) == (16, [0.5, 0.5, 0.5])


def _given(encoded: Any) -> dict[str, Any]:
    """The stock model's own inputs for one row; its videos are one grid each."""
    ids = torch.from_numpy(encoded.ids).unsqueeze(0)
    kinds = torch.zeros_like(ids)
    kinds[ids == IMAGE], kinds[ids == VIDEO] = 1, 2
    given: dict[str, Any] = {"input_ids": ids, "mm_token_type_ids": kinds}
    at = 0
    visuals: dict[str, list[Any]] = {"image": [], "video": []}
    for visual in encoded.visuals:
        visuals["image" if encoded.ids[encoded.slots[at]] == IMAGE else "video"].append(visual)
        at += visual.num_tokens
    for kind, name in (("image", "pixel_values"), ("video", "pixel_values_videos")):
        if seen := visuals[kind]:
            patches = np.concatenate([visual.patches for visual in seen])
            given[name] = normalised(torch.from_numpy(patches), (0.5,) * 3, (0.5,) * 3)
            grids = [visual.grid for visual in seen]
            given[f"{kind}_grid_thw"] = torch.tensor(
                grids if kind == "image" else [(len(seen), *grids[0][1:])]
            )
    return given
