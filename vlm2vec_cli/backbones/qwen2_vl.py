"""Qwen2-VL as an embedder, on stock transformers, numerically equal to VLM2Vec.

No chat template, no vision start or end markers, plain 1-D positions on all three rotary axes, the state of
the last token after the final norm. Source: the published VLM2Vec code (src/model,
src/model/vlm_backbone/qwen2_vl).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vlm2vec_cli.backbones import Encoded, Limits
from vlm2vec_cli.backbones._packed import expand
from vlm2vec_cli.backbones._stock import OfTransformers
from vlm2vec_cli.engine import attention, pixels, prompts
from vlm2vec_cli.media import MediaReader

MODEL_TYPES = ("qwen2_vl",)
PROMPT_FAMILIES = ("vlm2vec-v2", "vlm2vec-v1")
PROMPT_FAMILY = PROMPT_FAMILIES[0]
NUM_FRAMES = 8


class QwenVL(OfTransformers):
    """What the Qwen-VL families share; see `vlm2vec_cli.backbones.Backbone`."""

    TOWER: ClassVar[str] = "visual"
    # The tokenizer's own is that of the model that answers.
    CHAT_TEMPLATE: ClassVar[str | None] = prompts.chat_template(prompts.IMAGE_TOKEN, prompts.VIDEO_TOKEN)
    PROCESSOR: ClassVar[str] = "Qwen2VLProcessor"
    PATCH: ClassVar[int] = pixels.PATCH
    MEAN: ClassVar[tuple[float, ...]] = pixels.MEAN
    STD: ClassVar[tuple[float, ...]] = pixels.STD

    def __init__(self, wrapper: Any, tokenizer: Any, limits: Limits, family: str = PROMPT_FAMILY) -> None:
        super().__init__(wrapper, tokenizer, limits, family)
        visual = wrapper.model.visual
        visual.patch_embed = _PatchEmbed(visual.patch_embed.proj)
        self._image_id = int(wrapper.config.image_token_id)
        self._video_id = int(wrapper.config.video_token_id)
        self._pad_id = int(tokenizer.pad_token_id or 0)
        for part in (wrapper.config, wrapper.config.text_config, wrapper.config.vision_config):
            part._attn_implementation = attention.NAME

    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""
        images = self._visuals.images(content, root, media, self.limits)
        clips = self._visuals.clips(content, root, media, self.limits)
        also = prompts.V1_IMAGE if self.family == "vlm2vec-v1" else ()
        return self._expand(prompts.prompt(content, also=also), images, clips)

    def picture(self, image: Image.Image) -> pixels.Visual:
        """An RGB picture as the tower takes it."""
        return pixels.picture(image, self.limits.min_pixels, self.limits.max_pixels)

    def clip(self, frames: Sequence[Image.Image]) -> pixels.Visual:
        """RGB frames of a video as the tower takes them."""
        return pixels.clip(frames, self.limits.min_pixels, self.limits.max_pixels)

    def _expand(self, prompt: str, images: list[pixels.Visual], clips: list[pixels.Visual]) -> Encoded:
        ids = np.asarray(self.tokenizer(prompt)["input_ids"], dtype=np.int64)
        if images or clips:
            return expand(ids, {self._image_id: images, self._video_id: clips})
        # A visual token in a text without visuals stays one ordinary token.
        ids = ids[: self.limits.max_length] if len(ids) else np.array([self._pad_id])
        return Encoded(ids, (), np.empty(0, dtype=np.int64))

    def positions(self, encoded: Encoded) -> NDArray[np.int64]:
        """(3, tokens): 0, 1, 2, ... on all three axes, over visual tokens, too."""
        return np.broadcast_to(np.arange(encoded.num_tokens), (3, encoded.num_tokens))

    def look(self, visuals: Sequence[pixels.Visual]) -> Tensor:
        """(sum of visual tokens, D): one pass of the vision tower."""
        segments = tuple(visual.grid[1] * visual.grid[2] for visual in visuals for _ in range(visual.grid[0]))
        features: Tensor = self._tower_output(visuals, segment_lengths=segments).pooler_output
        return features

    def _tower_output(self, visuals: Sequence[pixels.Visual], **more: Any) -> Any:
        tower: Any = self.tower
        patches = torch.from_numpy(np.concatenate([visual.patches for visual in visuals]))
        grid = torch.tensor([visual.grid for visual in visuals], device=tower.device)
        values = normalised(patches.to(tower.device), self.MEAN, self.STD)
        return tower(values.to(tower.dtype), grid_thw=grid, **more)

    def stock_states(self, one: Encoded, given: dict[str, Tensor], slots: Tensor) -> Tensor:
        """See `Packed.stock_states`; pictures and clips each in their own arguments."""
        device = slots.device
        kinds: dict[int, list[pixels.Visual]] = {self._image_id: [], self._video_id: []}
        begin = 0
        for visual in one.visuals:
            kinds[int(one.ids[one.slots[begin]])].append(visual)
            begin += visual.num_tokens
        more: dict[str, Any] = self.stock_positions(given, slots)
        for seen, pixel_name, grid_name in (
            (kinds[self._image_id], "pixel_values", "image_grid_thw"),
            (kinds[self._video_id], "pixel_values_videos", "video_grid_thw"),
        ):
            if seen:
                patches = torch.from_numpy(np.concatenate([visual.patches for visual in seen]))
                more[pixel_name] = normalised(patches.to(device), self.MEAN, self.STD)
                more[grid_name] = torch.tensor([visual.grid for visual in seen], device=device)
        states: Tensor = self.model(**{**given, **more}, use_cache=False).last_hidden_state
        return states

    def stock_positions(self, given: dict[str, Tensor], slots: Tensor) -> dict[str, Any]:
        """What makes the stock model's positions those of the family: ours on all three axes."""
        return {"position_ids": given["position_ids"].expand(3, -1, -1)}

    def processor_files(self) -> dict[str, dict[str, Any]]:
        """What transformers' processor reads, by file name."""
        fields = {
            "min_pixels": self.limits.min_pixels,
            "max_pixels": self.limits.max_pixels,
            "patch_size": self.PATCH,
            "temporal_patch_size": pixels.TEMPORAL,
            "merge_size": pixels.MERGE,
            "image_mean": list(self.MEAN),
            "image_std": list(self.STD),
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": self.PROCESSOR,
        }
        return {"preprocessor_config.json": fields}


class Qwen2VL(QwenVL):
    """See `vlm2vec_cli.backbones.Backbone`."""

    KIND: ClassVar[str] = "Qwen2VLForConditionalGeneration"


load = Qwen2VL.load


class _PatchEmbed(nn.Module):
    """The tower's patch embedding as the matrix product it is: a convolution that never overlaps.

    The same weights under the same name; many times faster than a 3-D convolution over single patches.
    """

    def __init__(self, proj: nn.Module) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, patches: Tensor) -> Tensor:
        """(N, 3*2*patch*patch) -> (N, width)."""
        weight: Any = self.proj.weight
        bias: Any = self.proj.bias
        return functional.linear(patches.to(weight.dtype), weight.flatten(1), bias)


def normalised(
    patches: Tensor, mean: Sequence[float] = pixels.MEAN, std: Sequence[float] = pixels.STD
) -> Tensor:
    """8-bit patches (N, 3*pixels) to float32, normalised by channel (CLIP's statistics)."""
    per_channel = patches.shape[1] // 3
    of_channel = torch.tensor([mean, std], device=patches.device).repeat_interleave(per_channel, dim=1)
    mean_of, std_of = of_channel
    return torch.addcmul(-mean_of / std_of, patches.float(), 1 / (255 * std_of))
