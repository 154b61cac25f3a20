"""Qwen2.5-VL as an embedder, on stock transformers, as VLM2Vec trains it.

Prompts, pictures and positions are Qwen2-VL's; the vision tower attends inside windows of 112 pixels, but for
a few layers. Source: the published VLM2Vec code (src/model, src/model/vlm_backbone/qwen2_5_vl).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import transformers
from torch import Tensor

from vlm2vec_cli.backbones import Limits, qwen2_vl
from vlm2vec_cli.backbones._stock import load_stock, load_tokenizer
from vlm2vec_cli.engine.pixels import Visual

MODEL_TYPES = ("qwen2_5_vl",)
PROMPT_FAMILIES = qwen2_vl.PROMPT_FAMILIES


class Qwen2_5VL(qwen2_vl.QwenVL):
    """See `vlm2vec_cli.backbones.Backbone`."""

    PROCESSOR: ClassVar[str] = "Qwen2_5_VLProcessor"

    def look(self, visuals: Sequence[Visual]) -> Tensor:
        """(sum of visual tokens, D): one pass of the vision tower, which says itself who attends to whom."""
        features: Tensor = self._tower_output(visuals).pooler_output
        return features


def load(
    weights: Path,
    tokenizer: Path,
    limits: Limits,
    *,
    family: str,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Qwen2_5VL:
    """Loads full weights from a folder, strictly: a missing, foreign or misshapen tensor is an
    UnavailableError."""
    wrapper = load_stock(transformers.Qwen2_5_VLForConditionalGeneration, weights, dtype)
    return Qwen2_5VL(wrapper.to(device), load_tokenizer(tokenizer), limits, family)
