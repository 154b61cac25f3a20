"""Random changes of pictures for models that learn to see from little data.

Each picture of a step is mirrored half of the time, moved by up to 8 pixels, and changed in contrast and
tint. The draw depends on (seed, step, content) alone, so that a resumed run sees the same pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.backbones import Encoded
from vlm2vec_cli.engine.pixels import MERGE, PATCH, TEMPORAL, Visual

_SHIFT = 8


def changed(encoded: Encoded, generator: np.random.Generator) -> Encoded:
    """The same input with changed pictures; its ids stay."""
    if not encoded.visuals:
        return encoded
    visuals = tuple(_changed(visual, generator) for visual in encoded.visuals)
    return Encoded(encoded.ids, visuals, encoded.slots)


def _changed(visual: Visual, generator: np.random.Generator) -> Visual:
    frames = _frames(visual)
    if generator.random() < 0.5:
        frames = frames[..., ::-1]
    down, right = generator.integers(-_SHIFT, _SHIFT + 1, 2)
    height, width = frames.shape[-2:]
    padded = np.pad(frames, ((0, 0),) * 3 + ((_SHIFT, _SHIFT),) * 2, mode="edge")
    top, left = _SHIFT + down, _SHIFT + right
    frames = padded[..., top : top + height, left : left + width]
    contrast = generator.uniform(0.7, 1.3)
    tint = generator.uniform(-25, 25, (1, 1, 3, 1, 1))
    frames = np.clip(frames * contrast + tint, 0, 255).astype(np.uint8)
    return Visual(_patches(frames, visual.grid), visual.grid, f"{visual.key}:{generator.integers(1 << 62)}")


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
