"""Random changes of pictures for models that learn to see from little data.

`light`: mirrored half of the time, moved by up to 8 pixels, changed in contrast and tint. `strong`: also
turned by up to 20 degrees, scaled by 0.75 to 1.2, and grey in one of five. The draw depends on the generator
alone, which a run seeds with (seed, step), so that a resumed run sees the same pictures.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlm2vec_cli.backbones import Encoded
from vlm2vec_cli.engine.pixels import MERGE, PATCH, TEMPORAL, Visual

_SHIFT = 8
_TURN = math.radians(20)
_ZOOM = (0.75, 1.2)
_GREY = 0.2


def changed(encoded: Encoded, generator: np.random.Generator, strength: str = "light") -> Encoded:
    """The same input with changed pictures; its ids stay."""
    if not encoded.visuals:
        return encoded
    visuals = tuple(_changed(visual, generator, strength) for visual in encoded.visuals)
    return Encoded(encoded.ids, visuals, encoded.slots)


def _changed(visual: Visual, generator: np.random.Generator, strength: str) -> Visual:
    frames = _frames(visual)
    if generator.random() < 0.5:
        frames = frames[..., ::-1]
    if strength == "strong":
        frames = _turned(frames, generator)
    down, right = generator.integers(-_SHIFT, _SHIFT + 1, 2)
    height, width = frames.shape[-2:]
    padded = np.pad(frames, ((0, 0),) * 3 + ((_SHIFT, _SHIFT),) * 2, mode="edge")
    top, left = _SHIFT + down, _SHIFT + right
    frames = padded[..., top : top + height, left : left + width]
    if strength == "strong" and generator.random() < _GREY:
        frames = np.broadcast_to(frames.mean(axis=2, keepdims=True), frames.shape)
    contrast = generator.uniform(0.7, 1.3)
    tint = generator.uniform(-25, 25, (1, 1, 3, 1, 1))
    frames = np.clip(frames * contrast + tint, 0, 255).astype(np.uint8)
    return Visual(_patches(frames, visual.grid), visual.grid, f"{visual.key}:{generator.integers(1 << 62)}")


def _turned(frames: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """All frames turned and scaled alike about their middle; what comes into view has the corner's colour."""
    angle, zoom = generator.uniform(-_TURN, _TURN), generator.uniform(*_ZOOM)
    t, pair, _, height, width = frames.shape
    across, along = math.cos(angle) / zoom, math.sin(angle) / zoom
    x, y = width / 2, height / 2
    matrix = (across, along, x - across * x - along * y, -along, across, y + along * x - across * y)
    turned = np.empty_like(frames)
    for index in np.ndindex(t, pair):
        picture = Image.fromarray(np.ascontiguousarray(frames[index].transpose(1, 2, 0)))
        ground = tuple(int(value) for value in frames[index][:, 0, 0])
        moved = picture.transform(
            picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=ground
        )
        turned[index] = np.asarray(moved).transpose(2, 0, 1)
    return turned


def _frames(visual: Visual) -> NDArray[np.uint8]:
    """(t, 2, 3, height, width) pixels of the patches."""
    t, h, w = visual.grid
    split = visual.patches.reshape(t, h // MERGE, w // MERGE, MERGE, MERGE, 3, TEMPORAL, PATCH, PATCH)
    frames: NDArray[np.uint8] = split.transpose(0, 6, 5, 1, 3, 7, 2, 4, 8).reshape(
        t, TEMPORAL, 3, h * PATCH, w * PATCH
    )
    return frames


def _patches(frames: NDArray[np.uint8], grid: tuple[int, int, int]) -> NDArray[np.uint8]:
    t, h, w = grid
    split = frames.reshape(t, TEMPORAL, 3, h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH)
    patches = split.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(t * h * w, 3 * TEMPORAL * PATCH * PATCH)
    return np.ascontiguousarray(patches)
