"""GME, Qwen2-VL inside a chat frame, as VLM2Vec's benchmark runs it.

A picture stands before the text, the instruction of a query is the system's message, the last token is
`<|endoftext|>`, positions are plain 1-D. Pictures are first fitted to GME's own budget and then to the
processor's; of several pictures, or of a video, the middle one is seen. Chosen by its prompt family, because
its config.json says qwen2_vl. Source: the published VLM2Vec code (src/model/baseline_backbone/gme) and the
model card of Alibaba-NLP/gme-Qwen2-VL-2B-Instruct.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vlm2vec_cli.backbones import Encoded, qwen2_vl
from vlm2vec_cli.backbones._packed import expand
from vlm2vec_cli.engine import pixels, prompts
from vlm2vec_cli.media import MediaReader

MODEL_TYPES = ("qwen2_vl",)
PROMPT_FAMILIES = ("gme",)

_DEFAULT_INSTRUCTION = "You are a helpful assistant."
_MAX_LENGTH = 1800
_MAX_PIXELS = 16384 * pixels.FACTOR * pixels.FACTOR
# Visual tokens in a row's text, with the newline or blank behind them: GME puts its picture itself.
_TOKENS = re.compile(
    "(?:" + "|".join(map(re.escape, (prompts.IMAGE, prompts.VIDEO, prompts.IMAGE_TOKEN, prompts.VIDEO_TOKEN,
                                     *prompts.V1_IMAGE))) + r")[\n ]?"
)  # fmt: skip


class Gme(qwen2_vl.Qwen2VL):
    """See `vlm2vec_cli.backbones.Backbone`."""

    CHAT_TEMPLATE: ClassVar[str | None] = None  # its closing token is in no message

    def encode(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> Encoded:
        """Tokens and pixels of one content. Raises UserErrors without a place."""
        seen = self._seen(content, root, media)
        instruction = content.get("instruction") if content.get("role") != "candidate" else None
        text = _TOKENS.sub("", content.get("text") or "")
        marker = f"<|vision_start|>{prompts.IMAGE_TOKEN}<|vision_end|>" if seen else ""
        frame = (
            f"<|im_start|>system\n{instruction or _DEFAULT_INSTRUCTION}<|im_end|>\n"
            f"<|im_start|>user\n{marker}{text}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
        )
        ids = np.asarray(self.tokenizer(frame)["input_ids"], dtype=np.int64)
        whole = expand(ids, {self._image_id: seen})
        # The reference cuts the rendered text on the right; a picture is never cut.
        length = max(self.limits.max_length or _MAX_LENGTH, int(whole.slots[-1]) + 1 if seen else 0)
        return Encoded(whole.ids[:length], whole.visuals, whole.slots)

    def picture(self, image: Image.Image) -> pixels.Visual:
        """An RGB picture as the tower takes it."""
        return pixels.picture(image.resize(_size(image)), self.limits.min_pixels, self.limits.max_pixels)

    def clip(self, frames: Sequence[Image.Image]) -> pixels.Visual:
        """The middle one of RGB frames."""
        return self.picture(frames[len(frames) // 2])

    def _seen(self, content: Mapping[str, Any], root: Path, media: MediaReader) -> list[pixels.Visual]:
        refs = prompts.as_list(content.get("image"))
        middle = {"image": refs[len(refs) // 2]} if refs else {}
        clips = self._visuals.clips(content, root, media, self.limits)
        return clips or self._visuals.images(middle, root, media, replace(self.limits, resize=None))


load = Gme.load


def _size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of GME's own resize: its budget, and a longer side of 200 times the shorter at most."""
    high, wide = pixels.fitted(image.height, image.width, pixels.MIN_PIXELS, _MAX_PIXELS)
    return min(wide, high * pixels.MAX_RATIO), min(high, wide * pixels.MAX_RATIO)
