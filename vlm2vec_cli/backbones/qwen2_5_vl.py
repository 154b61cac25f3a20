"""Qwen2.5-VL as an embedder, on stock transformers, as VLM2Vec trains it.

Prompts, pictures and positions are Qwen2-VL's; the vision tower attends inside windows of 112 pixels, but for
a few layers. Source: the published VLM2Vec code (src/model, src/model/vlm_backbone/qwen2_5_vl).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from vlm2vec_cli.backbones import qwen2_vl
from vlm2vec_cli.engine.pixels import Visual

MODEL_TYPES = ("qwen2_5_vl",)
PROMPT_FAMILIES = qwen2_vl.PROMPT_FAMILIES


class Qwen2_5VL(qwen2_vl.QwenVL):
    """See `vlm2vec_cli.backbones.Backbone`."""

    KIND: ClassVar[str] = "Qwen2_5_VLForConditionalGeneration"
    PROCESSOR: ClassVar[str] = "Qwen2_5_VLProcessor"

    def look(self, visuals: Sequence[Visual]) -> Tensor:
        """(sum of visual tokens, D): one pass of the vision tower, which says itself who attends to whom."""
        features: Tensor = self._tower_output(visuals).pooler_output
        return features


load = Qwen2_5VL.load
