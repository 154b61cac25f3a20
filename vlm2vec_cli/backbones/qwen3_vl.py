"""Qwen3-VL as an embedder, on stock transformers: its chat layout and its own rotary positions.

The instruction is the system's message, visuals and text are the user's, the state of the last token before
an answer is the embedding. Positions have a time, a height and a width axis; features of three layers of the
tower are added behind the first layers of the decoder. Frames of a clip are taken to be half a second apart.
Source: Bai et al. 2025, Qwen3-VL; the published code of Qwen3-VL-Embedding for prompt and pooling.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vlm2vec_cli.backbones import Encoded, qwen2_vl
from vlm2vec_cli.backbones._packed import expand
from vlm2vec_cli.engine import pixels, prompts
from vlm2vec_cli.media import MediaReader

MODEL_TYPES = ("qwen3_vl",)
PROMPT_FAMILIES = ("qwen3-vl",)

_DEFAULT_INSTRUCTION = "Represent the user's input."
_EMPTY = "NULL"  # what a user says who says nothing
_FRAMES_PER_SECOND = 2


class Qwen3VL(qwen2_vl.QwenVL):
    """See `vlm2vec_cli.backbones.Backbone`."""

    KIND: ClassVar[str] = "Qwen3VLForConditionalGeneration"
    POSITIONS: ClassVar[str] = "mrope"
    CHAT_TEMPLATE: ClassVar[str | None] = None  # the tokenizer has it
    PROCESSOR: ClassVar[str] = "Qwen3VLProcessor"
    PATCH: ClassVar[int] = 16
    MEAN: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)
    STD: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)

    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""
        images = self._visuals.images(content, root, media, self.limits)
        clips = self._visuals.clips(content, root, media, self.limits)
        moments = [moment for clip in clips for moment in _moments(clip)]
        text = prompts.prompt(
            {**content, "instruction": ""},
            image_token=_marked(prompts.IMAGE_TOKEN),
            video_token="".join(
                f"<{seconds:.1f} seconds>{_marked(prompts.VIDEO_TOKEN)}" for seconds in _times(len(moments))
            )
            or prompts.VIDEO,
            between="",
        )
        frame = (
            f"<|im_start|>system\n{_instruction(content)}<|im_end|>\n"
            f"<|im_start|>user\n{text or _EMPTY}<|im_end|>\n<|im_start|>assistant\n"
        )
        ids = np.asarray(self.tokenizer(frame)["input_ids"], dtype=np.int64)
        if images or moments:
            return expand(ids, {self._image_id: images, self._video_id: moments})
        return Encoded(ids[: self.limits.max_length], (), np.empty(0, dtype=np.int64))

    def picture(self, image: Image.Image) -> pixels.Visual:
        """An RGB picture as the tower takes it."""
        return self.clip([image])

    def clip(self, frames: Sequence[Image.Image]) -> pixels.Visual:
        """RGB frames of a video as the tower takes them."""
        size = pixels.fitted(
            frames[0].height,
            frames[0].width,
            self.limits.min_pixels,
            self.limits.max_pixels,
            factor=self.PATCH * pixels.MERGE,
        )
        return pixels.patchify(frames, size, self.PATCH)

    def positions(self, encoded: Encoded) -> NDArray[np.int64]:
        """(3, tokens): one step a text token on all axes; a picture's tokens stand in its rows and columns
        and take as many steps as its longer side has."""
        parts: list[NDArray[np.int64]] = []
        step, token, slot = 0, 0, 0
        for visual in encoded.visuals:
            start = int(encoded.slots[slot])
            rows, columns = (side // pixels.MERGE for side in visual.grid[1:])
            parts.append(np.broadcast_to(np.arange(step, step + start - token), (3, start - token)))
            step += start - token
            place = np.indices((1, rows, columns)).reshape(3, -1)
            parts.append(step + place)
            step, token, slot = step + max(rows, columns), start + rows * columns, slot + rows * columns
        rest = encoded.num_tokens - token
        parts.append(np.broadcast_to(np.arange(step, step + rest), (3, rest)))
        return np.concatenate(parts, axis=1)

    def stock_positions(self, given: dict[str, Tensor], slots: Tensor) -> dict[str, Any]:
        """The stock model makes its own of what kind each token is."""
        ids = given["input_ids"]
        kinds = torch.zeros_like(ids)
        kinds[:, slots] = 1 + (ids[:, slots] == self._video_id).long()
        return {"position_ids": None, "mm_token_type_ids": kinds}

    def look(self, visuals: Sequence[pixels.Visual]) -> Tensor:
        """(sum of visual tokens, D * (1 + layers)): the tower's output, then that of its inner layers."""
        segments = tuple(visual.num_patches for visual in visuals)
        out = self._tower_output(visuals, segment_lengths=segments)
        return torch.cat([out.pooler_output, *out.deepstack_features], dim=-1)

    def beside(self, features_VF: Tensor, slots_V: Tensor, num_tokens: int) -> dict[str, Any]:
        """The inner layers' features, which the decoder adds behind its first layers."""
        mask_T = torch.zeros(num_tokens, dtype=torch.bool, device=slots_V.device)
        mask_T[slots_V] = True
        layers = list(torch.split(features_VF, self.dim, dim=-1))
        return {"visual_pos_masks": mask_T.unsqueeze(0), "deepstack_visual_embeds": layers}


load = Qwen3VL.load


def _marked(token: str) -> str:
    return f"<|vision_start|>{token}<|vision_end|>"


def _moments(clip: pixels.Visual) -> list[pixels.Visual]:
    """A clip as one visual for each pair of frames: between pairs, the tower does not attend."""
    t, h, w = clip.grid
    pairs = clip.patches.reshape(t, h * w, -1)
    return [pixels.Visual(pair, (1, h, w), f"{clip.key}:{number}") for number, pair in enumerate(pairs)]


def _times(count: int) -> list[float]:
    """The middle of each pair of frames in seconds."""
    return [(2 * number + 0.5) / _FRAMES_PER_SECOND for number in range(count)]


def _instruction(content: Mapping[str, Any]) -> str:
    text = (content.get("instruction") or "").strip()
    if not text:
        return _DEFAULT_INSTRUCTION
    return text if unicodedata.category(text[-1]).startswith("P") else f"{text}."
