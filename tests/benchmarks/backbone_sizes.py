"""Parameters and memory of the published sizes: `python tests/benchmarks/backbone_sizes.py`.

Models without storage, of the published architectures written down here; nothing is downloaded or allocated.
Activations are an estimate of what a forward pass without gradients holds at its widest in bfloat16: the
residual stream and the widest layer (of the MLP), in the decoder or in the vision tower, which sees `patches`
tokens for one of the decoder's, whichever is more. Fused attention keeps no score matrix.

2026-11-23, x86_64, transformers 5.23.0; below the language-model head:

| model | parameters | of them vision | weights in bf16 | activations a 1,000 visual tokens |
|---|---|---|---|---|
| Qwen2-VL 2B | 2.209 B | 0.665 B | 4.11 GiB | 59 MiB |
| Qwen2-VL 7B | 7.746 B | 0.676 B | 14.43 GiB | 86 MiB |
| Qwen2.5-VL 7B | 7.747 B | 0.677 B | 14.43 GiB | 98 MiB |
| LLaVA-NeXT 7B | 7.435 B | 0.304 B | 13.85 GiB | 70 MiB |
| Phi-3.5-V 4.2B | 4.048 B | 0.304 B | 7.54 GiB | 46 MiB |
"""

from __future__ import annotations

import argparse
import datetime
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import transformers
from accelerate import init_empty_weights

from vlm2vec_cli.backbones.phi3_v import Phi3VModel

GIB = 1 << 30
MIB = 1 << 20


class Size(NamedTuple):
    """A published size: how its inner model is made, and patches of the tower for one visual token."""

    name: str
    make: Callable[[], Any]
    patches: float


def qwen2_vl(text: dict[str, Any], vision_out: int) -> Any:
    fields = {
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }  # fmt: skip
    vision = {"depth": 32, "embed_dim": 1280, "hidden_size": vision_out, "num_heads": 16, "mlp_ratio": 4,
              "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}  # fmt: skip
    return transformers.Qwen2VLModel(
        transformers.Qwen2VLConfig(text_config={**text, **fields}, vision_config=vision)
    )


def qwen2_5_vl() -> Any:
    text = {
        **TEXT_7B, "max_position_embeddings": 128000, "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }  # fmt: skip
    vision = {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420,
              "out_hidden_size": 3584, "patch_size": 14, "window_size": 112,
              "fullatt_block_indexes": [7, 15, 23, 31]}  # fmt: skip
    return transformers.Qwen2_5_VLModel(transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision))


def llava_next() -> Any:
    text = {"model_type": "mistral", "vocab_size": 32064, "hidden_size": 4096, "intermediate_size": 14336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}  # fmt: skip
    vision = {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
              "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14,
              "projection_dim": 768}  # fmt: skip
    return transformers.LlavaNextModel(
        transformers.LlavaNextConfig(text_config=text, vision_config=vision, image_token_id=32000)
    )


def phi3_v() -> Any:
    factors = [1.0] * 48
    return Phi3VModel(
        {
            "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096, "pad_token_id": 32000, "img_processor": {},
            "rope_scaling": {"type": "su", "short_factor": factors, "long_factor": factors},
        }
    )  # fmt: skip


TEXT_2B = {"vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
           "num_attention_heads": 12, "num_key_value_heads": 2}  # fmt: skip
TEXT_7B = {"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
           "num_attention_heads": 28, "num_key_value_heads": 4}  # fmt: skip
SIZES = (
    Size("Qwen2-VL 2B", lambda: qwen2_vl(TEXT_2B, 1536), 4),
    Size("Qwen2-VL 7B", lambda: qwen2_vl(TEXT_7B, 3584), 4),
    Size("Qwen2.5-VL 7B", qwen2_5_vl, 4),
    Size("LLaVA-NeXT 7B", llava_next, 5 * 576 / 2928),  # a square picture: 5 tiles, 2,928 tokens
    Size("Phi-3.5-V 4.2B", phi3_v, 17 * 576 / 2509),  # a square picture: 16 crops and the whole, 2,509 tokens
)


def parameters(model: Any) -> int:
    """Distinct parameters below the language-model head."""
    return sum(parameter.numel() for parameter in model.parameters())


def widest(model: Any, width: int) -> int:
    """Numbers a token of the stream needs at the widest layer: residual, input and outputs of the MLP."""
    linear = [one for one in model.modules() if isinstance(one, torch.nn.Linear)]
    wide = max(one.out_features for one in linear)
    gated = any(name.endswith("gate_proj") for name, _ in model.named_modules())
    return 2 * width + wide * (2 if gated else 1)


def row(size: Size, tokens: int) -> list[str]:
    """One line of the table."""
    with init_empty_weights():
        model = size.make()
    tower = model.vision_tower if hasattr(model, "vision_tower") else model.visual
    vision_width = next(one for one in tower.modules() if isinstance(one, torch.nn.LayerNorm) or "RMSNorm" in
                        type(one).__name__).weight.numel()  # fmt: skip
    count, seen = parameters(model), parameters(tower)
    decoder = 2 * tokens * widest(model.language_model, model.language_model.config.hidden_size)
    vision = 2 * round(tokens * size.patches) * widest(tower, vision_width)
    return [
        size.name,
        f"{count / 1e9:.3f} B",
        f"{seen / 1e9:.3f} B",
        f"{2 * count / GIB:.2f} GiB",
        f"{max(decoder, vision) / MIB:.0f} MiB",
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=1000, help="visual tokens in the activation column")
    tokens = parser.parse_args().tokens
    print(f"{datetime.date.today()}, {platform.machine()}, transformers {transformers.__version__}\n")
    print(
        "| model | parameters | of them vision | weights in bf16 | activations a",
        f"{tokens:,} visual tokens |",
    )
    print("|---|---|---|---|---|")
    for size in SIZES:
        print("|", " | ".join(row(size, tokens)), "|")


if __name__ == "__main__":
    main()
