"""LLaVA-NeXT (LLaVA-v1.6-Mistral) as an embedder, on stock transformers, numerically equal to VLM2Vec V1.

A picture is seen whole and, fitted into the best of a few grids, in tiles; features of padding are cut away
and a learned newline ends each row. Each row of a batch is what it is alone. Source: the published VLM2Vec V1
code and transformers' LlavaNextProcessor; Liu et al. 2024, LLaVA-NeXT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlm2vec_cli.backbones import Encoded, Limits
from vlm2vec_cli.backbones._packed import expand
from vlm2vec_cli.backbones._stock import OfTransformers
from vlm2vec_cli.engine import pixels, prompts, tiles
from vlm2vec_cli.errors import DataError, UnavailableError
from vlm2vec_cli.media import MediaReader

MODEL_TYPES = ("llava_next",)
PROMPT_FAMILIES = ("vlm2vec-v1",)

_TOKEN = "<image>"


class LlavaNext(OfTransformers):
    """See `vlm2vec_cli.backbones.Backbone`."""

    KIND: ClassVar[str] = "LlavaNextForConditionalGeneration"
    TOWER: ClassVar[str] = "vision_tower"
    CHAT_TEMPLATE: ClassVar[str | None] = prompts.chat_template(_TOKEN, "")
    # As tokenizer.json says: the class that tokenizer_config.json names would split texts in another way.
    RAW_TOKENIZER: ClassVar[bool] = True

    def __init__(self, wrapper: Any, tokenizer: Any, limits: Limits, family: str) -> None:
        super().__init__(wrapper, tokenizer, limits, family)
        config = wrapper.config
        self._image_id = int(config.image_token_id)
        self._side = int(config.vision_config.image_size)
        self._patch = int(config.vision_config.patch_size)
        self._layer = config.vision_feature_layer
        self._grids = [(high, wide) for high, wide in config.image_grid_pinpoints]
        if not isinstance(self._layer, int) or config.vision_feature_select_strategy != "default":
            raise UnavailableError(
                "only one vision_feature_layer without its class token is supported", place="config.json"
            )

    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""
        if content.get("video"):
            raise DataError("llava_next has no video input", hint="give frames as a list in `image`")
        visuals = self._visuals.images(content, root, media, self.limits)
        text = prompts.prompt(content, image_token=_TOKEN, video_token=prompts.VIDEO, also=prompts.V1_IMAGE)
        ids = np.asarray(self.tokenizer(text)["input_ids"], dtype=np.int64)
        if visuals:
            return expand(ids, {self._image_id: visuals})
        return Encoded(ids[: self.limits.max_length], (), np.empty(0, dtype=np.int64))

    def picture(self, image: Image.Image) -> tiles.Tiles:
        """An RGB picture as tiles: all of it squashed into the first, then the grid's."""
        side, per_tile = self._side, self._side // self._patch
        high, wide = best_grid(image.height, image.width, self._grids)
        inner_high, inner_wide = inside(image.height, image.width, high, wide)
        canvas = np.zeros((high, wide, 3), dtype=np.uint8)
        top, left = (high - inner_high) // 2, (wide - inner_wide) // 2
        fitted = image.resize((inner_wide, inner_high), Image.Resampling.BICUBIC)
        canvas[top : top + inner_high, left : left + inner_wide] = np.asarray(fitted)
        whole = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
        found = np.concatenate([whole[None], tiles.cut(canvas, side)])
        grid = (1, high // side, wide // side)
        size = image.height, image.width
        rows, columns = grid[1] * per_tile, grid[2] * per_tile
        top, left = padding(*size, rows, columns)
        return tiles.Tiles(
            found,
            grid,
            tiles.key(found, grid, size),
            tokens=per_tile * per_tile + (rows - 2 * top) * (columns - 2 * left + 1),
            seen=len(found) * per_tile * per_tile,
            size=size,
        )

    def look(self, visuals: Sequence[tiles.Tiles]) -> Tensor:
        """(sum of visual tokens, D): one pass of the vision tower."""
        model = self.model
        given = [tiles.normalised(torch.from_numpy(one.patches).to(model.device)) for one in visuals]
        parts = []
        for one, states in zip(visuals, tiles.features(self.tower, given, self._layer), strict=True):
            seen = model.multi_modal_projector(states)
            inner = tiles.join(seen[1:], one.grid)
            top, left = padding(*one.size, *inner.shape[:2])
            inner = inner[top : inner.shape[0] - top, left : inner.shape[1] - left]
            newline = model.image_newline.to(inner.dtype).expand(inner.shape[0], 1, -1)
            parts += [seen[0].flatten(0, 1), torch.cat([inner, newline], dim=1).flatten(0, 1)]
        return torch.cat(parts)

    def stock_states(self, one: Encoded, given: dict[str, Tensor], slots: Tensor) -> Tensor:
        """See `Packed.stock_states`."""
        more: dict[str, Tensor] = {}
        visuals: Any = one.visuals
        if visuals:
            seen = [
                tiles.normalised(torch.from_numpy(visual.patches).to(slots.device)).permute(0, 3, 1, 2)
                for visual in visuals
            ]
            more["pixel_values"] = nn.utils.rnn.pad_sequence(seen, batch_first=True)
            more["image_sizes"] = torch.tensor([visual.size for visual in visuals], device=slots.device)
        states: Tensor = self.model(**given, **more, use_cache=False).last_hidden_state
        return states

    def processor_files(self) -> dict[str, dict[str, Any]]:
        """What transformers' processor reads, by file name."""
        square = {"height": self._side, "width": self._side}
        return {
            "preprocessor_config.json": {
                "image_grid_pinpoints": [list(grid) for grid in self._grids],
                "size": {"shortest_edge": self._side},
                "crop_size": square,
                "image_mean": list(pixels.MEAN),
                "image_std": list(pixels.STD),
                "image_processor_type": "LlavaNextImageProcessor",
                "processor_class": "LlavaNextProcessor",
            },
            # Without the last entry the stock processor writes one placeholder too few.
            "processor_config.json": {
                "image_token": _TOKEN,
                "patch_size": self._patch,
                "vision_feature_select_strategy": "default",
                "processor_class": "LlavaNextProcessor",
                "num_additional_image_tokens": 1,
            },
        }


load = LlavaNext.load


def best_grid(height: int, width: int, grids: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The (height, width) that shows most of a picture's own pixels and, of equals, wastes least.

    >>> best_grid(240, 320, [(336, 672), (672, 336), (672, 672)])
    (336, 672)
    """

    def worth(grid: tuple[int, int]) -> tuple[int, int]:
        scale = min(grid[1] / width, grid[0] / height)
        shown = min(int(width * scale) * int(height * scale), width * height)
        return shown, shown - grid[0] * grid[1]

    return max(grids, key=worth)


def inside(height: int, width: int, high: int, wide: int) -> tuple[int, int]:
    """(height, width) of a picture scaled to fit into (high, wide); the side that is left over is rounded
    up."""
    if wide / width < high / height:
        return min(math.ceil(height * (wide / width)), high), wide
    return high, min(math.ceil(width * (high / height)), wide)


def padding(height: int, width: int, rows: int, columns: int) -> tuple[int, int]:
    """(rows, columns) of features to cut off on either side, for a picture centred on rows x columns."""
    if width / height > columns / rows:
        return (rows - int(round(height * (columns / width), 7))) // 2, 0
    return 0, (columns - int(round(width * (rows / height), 7))) // 2
