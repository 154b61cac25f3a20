"""Training as VLM2Vec's trainer does it: padded chunks of rows, two passes, the head over all positions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Qwen2VLForConditionalGeneration

from setting import LIMITS, TEXT
from vlm2vec_cli import adapters
from vlm2vec_cli.backbones import Encoded, qwen2_vl
from vlm2vec_cli.grad_cache import backward
from vlm2vec_cli.media import MediaPolicy, MediaReader
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Choice, Pairs

CHUNK = 8


def loaded(folder: Path, options: TrainOptions) -> tuple[qwen2_vl.Qwen2VL, Any]:
    """The model with a fresh adapter."""
    backbone = qwen2_vl.load(
        folder, folder, LIMITS, family=qwen2_vl.PROMPT_FAMILY, dtype=torch.float32, device="cpu"
    )
    adapter = adapters.create(
        backbone.model, r=options.lora_r, alpha=options.lora_alpha, dropout=0.0,
        targets=options.lora_targets, dora=options.dora, seed=0,
    )  # fmt: skip
    return backbone, adapter


class Reference:
    """The published trainer's step on the stock model."""

    def __init__(self, folder: Path, options: TrainOptions) -> None:
        self.encoder, _ = loaded(folder, options)  # for tokens and pixels alone
        self.wrapper = Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        adapters.create(
            self.wrapper.model, r=options.lora_r, alpha=options.lora_alpha, dropout=0.0,
            targets=options.lora_targets, dora=options.dora, seed=0,
        )  # fmt: skip
        trained = [one for one in self.wrapper.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=options.learning_rate, fused=True)
        self.media = MediaReader(MediaPolicy())

    def step(self, pairs: Pairs, rows: Sequence[int], options: TrainOptions) -> float:
        """One update; the loss."""
        batch = pairs.batch(rows, Choice(mask_duplicates=False))
        sides = [
            [self.encoder.encode(side.content, side.root, self.media) for side in given]
            for given in (batch.queries, batch.targets)
        ]
        chunks = [side[at : at + CHUNK] for side in sides for at in range(0, len(side), CHUNK)]
        chunks.append([])  # so that every chunk has its second pass, as in the reference

        def loss(states: Tensor) -> Tensor:
            unit = functional.normalize(states, dim=-1)
            logits = unit[: len(sides[0])] @ unit[len(sides[0]) :].T / options.temperature
            return functional.cross_entropy(logits, batch.positive_B)

        value = backward(chunks, self.encode, loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(value)

    def encode(self, chunk: list[Encoded]) -> Tensor:
        """(rows, D) states of the last tokens, padded, through the head."""
        if not chunk:
            return torch.zeros(0, TEXT["hidden_size"], requires_grad=True)
        lengths = torch.tensor([one.num_tokens for one in chunk])
        width = int(lengths.max())
        ids = torch.zeros(len(chunk), width, dtype=torch.long)
        for row, one in zip(ids, chunk, strict=True):
            row[: one.num_tokens] = torch.from_numpy(one.ids)
        visuals = [visual for one in chunk for visual in one.visuals]
        more: dict[str, Tensor] = {}
        if visuals:
            patches = torch.from_numpy(np.concatenate([visual.patches for visual in visuals]))
            more["pixel_values"] = qwen2_vl.normalised(patches)
            more["image_grid_thw"] = torch.tensor([visual.grid for visual in visuals])
        out = self.wrapper(
            input_ids=ids,
            attention_mask=(torch.arange(width) < lengths[:, None]).long(),
            position_ids=torch.arange(width).expand(3, len(chunk), width),
            output_hidden_states=True,
            use_cache=False,
            **more,
        )
        return out.hidden_states[-1][torch.arange(len(chunk)), lengths - 1]
