"""Qwen2.5-VL against the stock model over a padded batch with 1-D positions."""

from typing import Any

import torch
import transformers

from backbones import QWEN2_5_VL
from vlm2vec_cli.backbones.qwen2_vl import normalised


def stock_states(family: Any, kind: Any, names: list[str]) -> torch.Tensor:
    """The stock model's states, left padded, with the running sum of the mask as positions on three axes."""
    rows = [family.encoded(name) for name in names]
    stock = kind.from_pretrained(family.model, attn_implementation="sdpa").eval()
    width = max(row.num_tokens for row in rows)
    ids = torch.full((len(rows), width), stock.config.text_config.bos_token_id or 0)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, width - row.num_tokens :] = torch.from_numpy(row.ids)
        mask[number, width - row.num_tokens :] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0).expand(3, -1, -1)
    pixels: dict[str, Any] = {}
    for kind_of, token in (("image", stock.config.image_token_id), ("video", stock.config.video_token_id)):
        seen = [visual for row in rows for visual in row.visuals if token in row.ids]
        if seen:
            name = "pixel_values" if kind_of == "image" else "pixel_values_videos"
            pixels[name] = torch.cat([normalised(torch.from_numpy(one.patches)) for one in seen])
            pixels[f"{kind_of}_grid_thw"] = torch.tensor([one.grid for one in seen])
    with torch.inference_mode():
        out = stock.model(input_ids=ids, attention_mask=mask, position_ids=positions, **pixels)
    return out.last_hidden_state[:, -1]


def test_states_are_the_stock_models_in_a_padded_batch() -> None:
    names = QWEN2_5_VL.ids
    stock = stock_states(QWEN2_5_VL, transformers.Qwen2_5_VLForConditionalGeneration, names)
    assert torch.allclose(QWEN2_5_VL.states(names), stock, atol=2e-5)


def test_rotary_positions_over_picture_height_and_width_are_another_vector() -> None:
    ours = QWEN2_5_VL.vectors(["i1_question"])[0]
    assert abs(ours - QWEN2_5_VL.arrays["diag_default_3d_positions/i1_question"]).max() > 1e-3
