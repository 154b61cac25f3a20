"""Changed pictures: the same layout, other pixels, the same every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import golden
from vlm2vec_cli.engine import pixels
from vlm2vec_cli.training import augment


def picture(seed: int, height: int, width: int, frames: int) -> pixels.Visual:
    generator = np.random.default_rng(seed)
    images = [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)) for _ in range(frames)
    ]
    return pixels.clip(images, 28 * 28, 28 * 28 * 16)


@given(st.integers(0, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_patches_to_frames_and_back_is_the_identity(seed: int, high: int, wide: int, frames: int) -> None:
    visual = picture(seed, 28 * high, 28 * wide, frames)
    pixel = augment._frames(visual)
    assert pixel.shape == ((frames + 1) // 2, 2, 3, visual.grid[1] * 14, visual.grid[2] * 14)
    assert np.array_equal(augment._patches(pixel, visual.grid), visual.patches)


def test_frames_are_the_pixels_of_the_picture() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (56, 84, 3), dtype=np.uint8))
    visual = pixels.picture(image, 28 * 28, 28 * 28 * 16)
    expected = np.asarray(image).transpose(2, 0, 1)
    for frame in augment._frames(visual)[0]:
        assert np.array_equal(frame, expected)


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_only_pixels_and_key_change(strength: str) -> None:
    encoded = golden.encoded("v02_video_5f_text")
    changed = augment.changed(encoded, np.random.default_rng(0), strength)
    assert changed.ids is encoded.ids
    assert changed.slots is encoded.slots
    for before, after in zip(encoded.visuals, changed.visuals, strict=True):
        assert (after.grid, after.patches.shape, after.patches.dtype) == (
            before.grid,
            before.patches.shape,
            np.uint8,
        )
        assert after.key != before.key
        assert not np.array_equal(after.patches, before.patches)


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_the_draw_is_the_generators(strength: str) -> None:
    encoded = golden.encoded("i04_tiny_10x12")
    first, again = (augment.changed(encoded, np.random.default_rng([1, 2]), strength) for _ in range(2))
    assert np.array_equal(first.visuals[0].patches, again.visuals[0].patches)
    assert first.visuals[0].key == again.visuals[0].key
    other = augment.changed(encoded, np.random.default_rng([1, 3]), strength)
    assert not np.array_equal(first.visuals[0].patches, other.visuals[0].patches)


def test_a_text_stays() -> None:
    encoded = golden.encoded("t03_plain_candidate")
    assert augment.changed(encoded, np.random.default_rng(0)) is encoded
