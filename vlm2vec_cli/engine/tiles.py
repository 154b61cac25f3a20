"""Pictures as square tiles of a CLIP tower, and what the tower says of them.

Tiles stay 8-bit until they reach the device. Only the layers whose output is used are computed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlm2vec_cli.engine import pixels

# Tiles in one pass of the tower.
_PASS = 32


@dataclass(frozen=True, eq=False)
class Tiles(pixels.Visual):
    """One picture, cut into tiles: `patches` is (tiles, side, side, 3), `grid` (1, rows, columns) of tiles.

    Those of the grid stand last, row by row.
    """

    tokens: int
    seen: int
    size: tuple[int, int]  # height and width of the picture before it was cut

    @property
    def num_tokens(self) -> int:
        """Language-model tokens it takes."""
        return self.tokens

    @property
    def num_patches(self) -> int:
        """Tokens of the vision tower."""
        return self.seen


def cut(canvas: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(rows*side, columns*side, 3) -> (rows*columns, side, side, 3), row by row."""
    rows, columns = canvas.shape[0] // side, canvas.shape[1] // side
    split = canvas.reshape(rows, side, columns, side, 3)
    tiles: NDArray[np.uint8] = split.transpose(0, 2, 1, 3, 4).reshape(rows * columns, side, side, 3)
    return tiles


def join(tiles: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """(rows*columns, height, width, C) -> (rows*height, columns*width, C): the inverse, for features too."""
    (_, rows, columns), (_, height, width, channels) = grid, tiles.shape
    split = tiles.reshape(rows, columns, height, width, channels).transpose(1, 2)
    return split.reshape(rows * height, columns * width, channels)


def hd_transform(image: Image.Image, num_crops: int, side: int) -> NDArray[np.uint8]:
    """An RGB picture -> (rows*side, columns*side, 3) with rows * columns <= num_crops, as Phi-3.5-V cuts it.

    Scaled to a whole number of tiles across, the rest of the last tiles white; a picture higher than wide is
    treated lying on its side.
    """
    upright = image.width < image.height
    if upright:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    ratio = image.width / image.height
    columns = 1
    while (columns + 1) * math.ceil((columns + 1) / ratio) <= num_crops:
        columns += 1
    wide = columns * side
    high = max(1, int(wide / ratio))
    total = math.ceil(high / side) * side
    canvas = np.full((total, wide, 3), 255, dtype=np.uint8)
    top = (total - high) // 2
    canvas[top : top + high] = np.asarray(image.resize((wide, high), Image.Resampling.BILINEAR))
    return canvas.transpose(1, 0, 2) if upright else canvas


def key(tiles: NDArray[np.uint8], *facts: object) -> str:
    """A name for tiles and whatever else decides their features."""
    digest = hashlib.blake2b(tiles.tobytes(), digest_size=16)
    digest.update(repr((tiles.shape, facts)).encode())
    return digest.hexdigest()


def normalised(tiles: Tensor) -> Tensor:
    """8-bit (..., 3) to CLIP-normalised float32 of the same shape."""
    mean, std = (torch.tensor(values, device=tiles.device) for values in (pixels.MEAN, pixels.STD))
    return (tiles.float() / 255 - mean) / std


def features(tower: Any, tiles_NHWC: Sequence[Tensor], layer: int) -> list[Tensor]:
    """For each tensor of normalised tiles (n, side, side, 3) the hidden state `layer` of a CLIP vision tower,
    without its class token: (n, height, width, C). `layer` counts as in transformers' `hidden_states`."""
    layers = tower.encoder.layers[: layer if layer >= 0 else len(tower.encoder.layers) + 1 + layer]
    passes = []
    for part in torch.split(torch.cat(list(tiles_NHWC)), _PASS):
        states = tower.pre_layrnorm(tower.embeddings(part.permute(0, 3, 1, 2).to(tower.dtype)))
        for one in layers:
            states = one(states, attention_mask=None)
        passes.append(states[:, 1:])
    states = torch.cat(passes)
    height = round(states.shape[1] ** 0.5)
    square = states.reshape(len(states), height, -1, states.shape[-1])
    return list(torch.split(square, [len(tiles) for tiles in tiles_NHWC]))
