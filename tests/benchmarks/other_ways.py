"""Other ways to make vectors with the same weights: padded batches, and sentence-transformers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from setting import LIMITS, TEXT
from vlm2vec_cli.backbones import qwen2_vl
from vlm2vec_cli.engine import prompts
from vlm2vec_cli.media import MediaReader

Row = dict[str, Any]


def padded(model: Path, folder: Path, rows: list[Row], reference: bool) -> Callable[[], np.ndarray]:
    """Batches of stock transformers, padded on the left."""
    plain = qwen2_vl.load(
        model, model, LIMITS, family=qwen2_vl.PROMPT_FAMILY, dtype=torch.float32, device="cpu"
    )
    wrapper = Qwen2VLForConditionalGeneration.from_pretrained(model, attn_implementation="sdpa").eval()
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": 3136, "longest_edge": 1003520})
    media = MediaReader()

    def prepared(row: Row) -> tuple[list[int], torch.Tensor | None, torch.Tensor | None]:
        """The stock processor's pixels; ids as the packed way has them."""
        ids = plain.tokenizer(prompts.prompt(row))["input_ids"]
        if "image" in row:
            seen = processor(images=[media.image(row["image"], folder)], return_tensors="pt")
            pixels, grid = seen["pixel_values"], seen["image_grid_thw"]
        elif "video" in row:
            visual = plain.encode(row, folder, media).visuals[0]
            pixels = qwen2_vl.normalised(torch.from_numpy(visual.patches))
            grid = torch.tensor([visual.grid])
        else:
            return ids, None, None
        count = int(grid.prod()) // 4
        special = {plain._image_id, plain._video_id}
        return [one for i in ids for one in ([i] * count if i in special else [i])], pixels, grid

    @torch.inference_mode()
    def forward(batch: list[Any]) -> torch.Tensor:
        longest = max(len(ids) for ids, *_ in batch)
        ids = torch.tensor([[0] * (longest - len(ids)) + ids for ids, *_ in batch])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids, *_ in batch])
        given: dict[str, Any] = {}
        if batch[0][1] is not None:
            video = bool((ids == plain._video_id).any())
            names = ("pixel_values_videos", "video_grid_thw") if video else ("pixel_values", "image_grid_thw")
            given = dict(zip(names, (torch.cat([one[k] for one in batch]) for k in (1, 2)), strict=True))
        positions = (mask.cumsum(1) - 1).clamp_min(0).expand(3, -1, -1)
        given.update(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        if reference:
            out = wrapper(**given, output_hidden_states=True).hidden_states[-1]
        else:
            out = wrapper.model(**given).last_hidden_state
        return torch.nn.functional.normalize(out[:, -1], dim=-1)

    def run() -> np.ndarray:
        found = np.empty((len(rows), TEXT["hidden_size"]), np.float32)
        if reference:
            order, ready, size = list(range(len(rows))), None, 8
        else:
            ready, size = [prepared(row) for row in rows], 16
            order = sorted(range(len(rows)), key=lambda i: len(ready[i][0]))
        for at in range(0, len(order), size):
            chosen = order[at : at + size]
            batch = [prepared(rows[i]) if ready is None else ready[i] for i in chosen]
            found[chosen] = forward(batch).numpy()
        return found

    return run


def sentence_transformers(model: Path, folder: Path, rows: list[Row]) -> Callable[[], np.ndarray] | None:
    """sentence-transformers on the same folder, for texts; None where it cannot be had, or rows have visuals.

    It puts visuals where a chat template says, and this model has none.
    """
    if any(set(row) != {"text"} for row in rows):
        return None
    try:
        from sentence_transformers import SentenceTransformer

        loaded = SentenceTransformer(str(model), device="cpu")
        loaded[1] = type(loaded[1])(TEXT["hidden_size"], pooling_mode="lasttoken")
    except Exception as error:  # not installed, or whatever it raises for a folder that it cannot load
        print(f"sentence-transformers left out: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
    texts = [row["text"] for row in rows]
    return lambda: np.asarray(loaded.encode(texts, batch_size=16, normalize_embeddings=True))
