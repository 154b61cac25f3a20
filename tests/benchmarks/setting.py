"""What the benchmarks of models share: the model, the words of its texts, and the head of a table.

The model is a Qwen2-VL of realistic proportions with random weights: 130 million parameters, 78 of them the
token table.
"""

from __future__ import annotations

import platform
import sys
from datetime import date
from pathlib import Path

import named_operators  # noqa: F401  # declares operators before torchvision is loaded

# isort: split
import torch
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from vlm2vec_cli import tiny
from vlm2vec_cli.backbones import Limits, qwen2_vl

LIMITS = Limits(min_pixels=3136, max_pixels=1003520, num_frames=8)
WORDS = [
    f"{a}{b}" for a in ("stone", "river", "cloud", "lamp", "green") for b in ("", "s", "ing", "ed", "ly")
]
TEXT = {
    "vocab_size": 151936, "hidden_size": 512, "intermediate_size": 2816, "num_hidden_layers": 8,
    "num_attention_heads": 8, "num_key_value_heads": 2, "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
}  # fmt: skip
VISION = {
    "depth": 8, "embed_dim": 320, "hidden_size": 512, "num_heads": 8, "mlp_ratio": 4, "patch_size": 14,
    "spatial_merge_size": 2, "temporal_patch_size": 2,
}  # fmt: skip


def make_model(folder: Path) -> None:
    """A checkpoint folder with random weights."""
    tokenizer = tiny.train_tokenizer(WORDS * 4)
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    config = Qwen2VLConfig(
        text_config=TEXT, vision_config=VISION, tie_word_embeddings=True,
        image_token_id=ids["image_pad"], video_token_id=ids["video_pad"],
    )  # fmt: skip
    torch.manual_seed(0)
    qwen2_vl.Qwen2VL(Qwen2VLForConditionalGeneration(config), tokenizer, LIMITS).save(folder)


def head() -> str:
    """Date, machine, library and command: the lines above a table."""
    machine = platform.processor() or platform.machine()
    return f"{date.today()} | {machine} | torch {torch.__version__}\n$ python {' '.join(sys.argv)}"
