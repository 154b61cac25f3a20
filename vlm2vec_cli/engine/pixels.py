"""Pictures and frames to Qwen2-VL patches, equal to the published preprocessing.

Sizes follow Qwen2-VL's rule (both sides multiples of 28, area inside the pixel budget, bicubic on 8-bit RGB
by Pillow). Patches stay 8-bit until they reach the device: a quarter of the memory and of the transfer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PATCH = 14
MERGE = 2
TEMPORAL = 2
FACTOR = PATCH * MERGE
MIN_PIXELS = 4 * FACTOR * FACTOR
MAX_PIXELS = 1280 * FACTOR * FACTOR
MAX_RATIO = 200
_TINY_SIDE = (56, 56)
_SQUARES = {"high": 1344, "mid": 672, "low": 128}
# CLIP's channel statistics for pixels in 0..1.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, eq=False)  # without slots, which would forbid weak references
class Visual:
    """One picture or one clip, ready for the vision tower."""

    patches: NDArray[np.uint8]  # (t*h*w, 3*2*patch*patch), Qwen2-VL's patch order, 0..255
    grid: tuple[int, int, int]  # t, h, w in patches
    key: str  # equal for equal patches

    @property
    def num_tokens(self) -> int:
        """Language-model tokens it takes: one for 2 x 2 patches."""
        return self.num_patches // (MERGE * MERGE)

    @property
    def num_patches(self) -> int:
        """Rows of `patches`."""
        return len(self.patches)


def target_size(height: int, width: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """(height, width) after the resize: multiples of 28 inside the pixel budget.

    A side below 28 or a ratio above 200 is treated as a square of the longer side, as the published code
    does.
    """
    if min(height, width) < FACTOR or max(height, width) > MAX_RATIO * min(height, width):
        height = width = max(height, width)
    return fitted(height, width, min_pixels, max_pixels)


def fitted(
    height: int, width: int, min_pixels: int, max_pixels: int, factor: int = FACTOR
) -> tuple[int, int]:
    """(height, width) as multiples of `factor` inside the pixel budget, in the picture's own ratio."""
    high = max(factor, round(height / factor) * factor)
    wide = max(factor, round(width / factor) * factor)
    if high * wide > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        high = max(factor, math.floor(height / shrink / factor) * factor)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
    elif high * wide < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        high = math.ceil(height * grow / factor) * factor
        wide = math.ceil(width * grow / factor) * factor
    return high, wide


def preset(image: Image.Image, name: str) -> Image.Image:
    """A picture in its stored mode -> squashed to the square of one of VLM2Vec V1's presets.

    `cap` squashes to 1344 x 1344 only a picture with a longer side. The filter is Pillow's default.
    """
    if name == "cap" and max(image.size) <= _SQUARES["high"]:
        return image
    side = _SQUARES["high" if name == "cap" else name]
    return image.resize((side, side))


def picture(image: Image.Image, min_pixels: int, max_pixels: int) -> Visual:
    """One RGB picture -> Visual with t = 1. A side below 28 px is first squashed to 56 x 56."""
    if min(image.size) < FACTOR:
        image = image.resize(_TINY_SIDE)
    return patchify([image], target_size(image.height, image.width, min_pixels, max_pixels))


def clip(frames: Sequence[Image.Image], min_pixels: int, max_pixels: int) -> Visual:
    """RGB frames of one clip -> Visual; the budget holds per frame, the first frame decides the size."""
    first = frames[0]
    return patchify(frames, target_size(first.height, first.width, min_pixels, max_pixels))


def patchify(frames: Sequence[Image.Image], size: tuple[int, int], patch: int = PATCH) -> Visual:
    """RGB frames resized to `size` (height, width) -> Visual of patches of `patch` x `patch` pixels."""
    high, wide = size
    stack = np.stack(
        [np.asarray(frame.resize((wide, high), Image.Resampling.BICUBIC), dtype=np.uint8) for frame in frames]
    )
    if len(stack) % TEMPORAL:
        stack = np.concatenate([stack, stack[-1:]])
    t, h, w = len(stack) // TEMPORAL, high // patch, wide // patch
    # (t, 2, h/2, 2, p, w/2, 2, p, 3) -> (t, h/2, w/2, 2, 2, 3, 2, p, p)
    split = stack.reshape(t, TEMPORAL, h // MERGE, MERGE, patch, w // MERGE, MERGE, patch, 3)
    patches = split.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(t * h * w, 3 * TEMPORAL * patch * patch)
    patches = np.ascontiguousarray(patches)
    digest = hashlib.blake2b(patches.tobytes(), digest_size=16, person=b"%dx%dx%d" % (t, h, w))
    return Visual(patches, (t, h, w), digest.hexdigest())
