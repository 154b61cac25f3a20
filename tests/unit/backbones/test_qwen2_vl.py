"""Equal to the reference to 2e-5: ids, pixels, vectors; alone and in any mixture, order and budget."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import golden
from vlm2vec_cli.backbones import qwen2_vl
from vlm2vec_cli.engine import packing, pixels
from vlm2vec_cli.errors import DataError, UnavailableError

IDS = golden.facts()["ids"]
EXPECTED = dict(zip(IDS, golden.arrays()["emb_single"], strict=True))
TOLERANCE = 2e-5


def vectors(names: list[str]) -> np.ndarray:
    with torch.inference_mode():
        states = golden.backbone().forward([golden.encoded(name) for name in names])
    return torch.nn.functional.normalize(states, dim=-1).numpy()


@pytest.mark.parametrize("facts", golden.facts()["inputs"], ids=IDS)
def test_ids_and_grids_are_the_references(facts: dict) -> None:
    encoded = golden.encoded(facts["id"])
    assert encoded.ids.tolist() == facts["input_ids"]
    grids = [list(visual.grid) for visual in encoded.visuals]
    assert grids == (facts["image_grid_thw"] or facts["video_grid_thw"] or [])


@pytest.mark.parametrize("name", [name for name in IDS if golden.inputs()[name]["prompt_from_parts"]])
def test_instruction_text_and_media_make_the_references_prompt(name: str) -> None:
    encoded = golden.backbone().encode(golden.parts(name), golden.ROOT, golden.media())
    assert encoded.ids.tolist() == golden.encoded(name).ids.tolist()


def test_pixels_are_the_references() -> None:
    stored = {
        name.split("/")[1]: value
        for name, value in golden.arrays().items()
        if name.startswith("pixel_values/")
    }
    assert stored
    for name, expected in stored.items():
        patches = torch.from_numpy(golden.encoded(name).visuals[0].patches)
        assert np.abs(qwen2_vl.normalised(patches).numpy() - expected).max() <= 1e-6


@pytest.mark.parametrize("name", IDS)
def test_a_vector_alone_is_the_references(name: str) -> None:
    assert np.abs(vectors([name])[0] - EXPECTED[name]).max() <= TOLERANCE


@given(st.lists(st.sampled_from(IDS), min_size=1, max_size=10))
def test_a_vector_does_not_depend_on_its_neighbours(names: list[str]) -> None:
    for name, vector in zip(names, vectors(names), strict=True):
        assert np.abs(vector - EXPECTED[name]).max() <= TOLERANCE


def test_gradients_of_a_shared_picture_are_those_of_rows_alone() -> None:
    backbone = golden.fresh()
    rows = [
        backbone.encode(
            {"image": "images/rgba_180x240.png", "text": f"question {n}?"}, golden.ROOT, golden.media()
        )
        for n in range(3)
    ]
    assert len(packing.pack(rows).ids) < sum(row.num_tokens for row in rows) / 2
    gradients = []
    for batches in ([rows], [[row] for row in rows]):
        backbone.model.zero_grad()
        for batch in batches:
            backbone.forward(batch).square().sum().backward()
        gradients.append({name: one.grad for name, one in backbone.model.named_parameters()})
    for name, shared in gradients[0].items():
        alone = gradients[1][name]
        assert (shared is None) == (alone is None)
        if shared is not None:
            assert torch.allclose(shared, alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max())), name


def test_the_pooled_state_is_the_one_after_the_final_norm() -> None:
    with torch.inference_mode():
        raw = torch.cat([golden.backbone().forward([golden.encoded(name)]) for name in IDS]).numpy()
    assert np.abs(raw - golden.arrays()["pooled_single_raw"]).max() <= 1e-4


def test_a_visual_token_without_a_visual_is_an_ordinary_token_next_to_pictures() -> None:
    backbone = golden.backbone()
    stray = backbone.encode({"text": "<image> Find an image: a cat"}, golden.ROOT, golden.media())
    assert stray.visuals == ()
    assert backbone._image_id in stray.ids
    with torch.inference_mode():
        alone = backbone.forward([stray])
        mixed = backbone.forward([golden.encoded("i10_rgba"), stray])
    assert torch.allclose(alone[0], mixed[1], atol=1e-5)


def test_an_empty_text_is_one_padding_token() -> None:
    encoded = golden.backbone().encode({"text": ""}, golden.ROOT, golden.media())
    assert encoded.ids.tolist() == [1000]


def test_tokens_and_visuals_must_agree() -> None:
    with pytest.raises(DataError, match="text has 2 <image> tokens for 1 images"):
        golden.backbone().encode(
            {"text": "<image><image>", "image": "images/tiny_10x12.png"}, golden.ROOT, golden.media()
        )


def test_foreign_weights_are_refused(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    for path in golden.MODEL.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(golden.MODEL / "model.safetensors")
    state.pop("model.layers.0.mlp.down_proj.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnavailableError, match=r"missing keys in the weights: .*down_proj"):
        qwen2_vl.load(
            tmp_path, tmp_path, golden.LIMITS, family="vlm2vec-v2", dtype=torch.float32, device="cpu"
        )


def test_saved_weights_load_again_and_give_the_same_vectors(tmp_path) -> None:
    golden.fresh().save(tmp_path)
    again = qwen2_vl.load(
        tmp_path, tmp_path, golden.LIMITS, family="vlm2vec-v2", dtype=torch.float32, device="cpu"
    )
    with torch.inference_mode():
        assert torch.equal(
            again.forward([golden.encoded("i10_rgba")]),
            golden.backbone().forward([golden.encoded("i10_rgba")]),
        )


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_target_sizes_are_multiples_inside_the_budget(height: int, width: int) -> None:
    high, wide = pixels.target_size(height, width, pixels.MIN_PIXELS, pixels.MAX_PIXELS)
    assert high % 28 == wide % 28 == 0
    assert high * wide <= pixels.MAX_PIXELS
    assert high * wide >= pixels.MIN_PIXELS


def test_the_first_generation_squashes_pictures_and_says_image_1() -> None:
    first = qwen2_vl.load(
        golden.MODEL, golden.MODEL, replace(golden.LIMITS, resize="mid"), family="vlm2vec-v1",
        dtype=torch.float32, device="cpu",
    )  # fmt: skip
    row = {"image": "images/rgba_180x240.png"}
    seen = first.encode(
        {**row, "text": "<|image_1|> Represent the given image."}, golden.ROOT, golden.media()
    )
    assert [visual.grid for visual in seen.visuals] == [(1, 48, 48)]
    again = first.encode({**row, "text": "<image> Represent the given image."}, golden.ROOT, golden.media())
    assert seen.ids.tolist() == again.ids.tolist()
    with Image.open(golden.ROOT / row["image"]) as stored:
        assert stored.mode == "RGBA"
        squashed = stored.resize((672, 672)).convert(
            "RGB"
        )  # alpha takes part in the resize, then it is dropped
    expected = pixels.picture(squashed, golden.LIMITS.min_pixels, golden.LIMITS.max_pixels)
    assert np.array_equal(seen.visuals[0].patches, expected.patches)
