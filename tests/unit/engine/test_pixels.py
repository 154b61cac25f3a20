"""Sizes and patches: Qwen2-VL's rule, the published exceptions, the patch order of the stock processor."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlm2vec_cli.backbones.qwen2_vl import normalised
from vlm2vec_cli.engine import pixels
from vlm2vec_cli.engine.pixels import MAX_PIXELS, MIN_PIXELS, target_size


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((448, 448), (448, 448)),
        ((224, 230), (224, 224)),
        ((42, 28), (84, 56)),  # below the budget: scaled up from the picture's own size
        ((10, 12), (56, 56)),
        ((24, 640), (644, 644)),  # a side below 28: a square of the longer side
        ((28, 28 * 201), (980, 980)),  # a ratio above 200 likewise
        ((3000, 4000), (840, 1148)),
    ],
)
def test_target_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert target_size(*size, MIN_PIXELS, MAX_PIXELS) == expected


@given(st.integers(28, 3000), st.integers(28, 3000))
def test_sizes_are_the_stock_ones_where_stock_has_one(height: int, width: int) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    expected = smart_resize(height, width, factor=28, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    assert target_size(height, width, MIN_PIXELS, MAX_PIXELS) == tuple(expected)


def test_patches_are_the_stock_processors() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    stock = Qwen2VLImageProcessorPil(size={"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS})
    image = noise(100, 150)
    expected = stock(images=[image], return_tensors="pt")
    visual = pixels.picture(image, MIN_PIXELS, MAX_PIXELS)
    assert list(visual.grid) == expected["image_grid_thw"][0].tolist()
    ours = normalised(torch.from_numpy(visual.patches))
    assert torch.allclose(ours, expected["pixel_values"], atol=1e-5)


def test_a_small_side_is_squashed_to_56_first() -> None:
    image = noise(20, 300)
    visual = pixels.picture(image, MIN_PIXELS, MAX_PIXELS)
    expected = pixels.picture(image.resize((56, 56)), MIN_PIXELS, MAX_PIXELS)
    assert visual.grid == (1, 4, 4)
    assert visual.key == expected.key


def test_frames_of_a_clip_take_the_size_of_the_first_and_an_even_number() -> None:
    frames = [noise(56, 84, 0), noise(200, 100, 1), noise(56, 84, 2)]
    visual = pixels.clip(frames, MIN_PIXELS, MAX_PIXELS)
    assert visual.grid == (2, 4, 6)
    assert visual.num_tokens == 12
    assert visual.patches.shape == (48, 3 * 2 * 14 * 14)
    whole = pixels.clip([*frames, frames[-1]], MIN_PIXELS, MAX_PIXELS)
    assert visual.key == whole.key


def test_keys_are_equal_for_equal_patches_of_equal_layout() -> None:
    flat = Image.new("RGB", (56, 112))
    tall = Image.new("RGB", (112, 56))
    keys = {pixels.picture(image, MIN_PIXELS, MAX_PIXELS).key for image in (flat, tall, noise(56, 112))}
    assert len(keys) == 3
    assert pixels.picture(flat, MIN_PIXELS, MAX_PIXELS).key == pixels.picture(flat, 1, MAX_PIXELS).key


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("high", (320, 240), (1344, 1344)),
        ("mid", (320, 240), (672, 672)),
        ("low", (320, 240), (128, 128)),
        ("cap", (1344, 20), (1344, 20)),
        ("cap", (1345, 20), (1344, 1344)),
    ],
)
def test_presets_squash_to_a_square(name: str, given: tuple[int, int], expected: tuple[int, int]) -> None:
    assert pixels.preset(Image.new("RGB", given), name).size == expected


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([28, 32]))
def test_fitted_sizes_are_multiples_of_their_factor(height: int, width: int, factor: int) -> None:
    high, wide = pixels.fitted(height, width, MIN_PIXELS, MAX_PIXELS, factor)
    assert high % factor == wide % factor == 0
    assert high * wide >= MIN_PIXELS
