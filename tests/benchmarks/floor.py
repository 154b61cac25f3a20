"""What the arithmetic alone costs: the floor that no program can go below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from setting import TEXT, VISION
from vlm2vec_cli import encoder
from vlm2vec_cli.engine import packing, segments
from vlm2vec_cli.media import MediaReader

Row = dict[str, Any]


def matmul_rate(clock: Callable[[], float], seconds: float = 1.0) -> float:
    """Float operations a second of float32 matrix products of the model's shapes: the median over a second.

    The best one is reached for moments only: a core that works for long is slower, and differs by the hour.
    """
    left, right = torch.randn(2048, 512), torch.randn(2816, 512)
    taken: list[float] = []
    while sum(taken) < seconds:
        start = clock()
        torch.nn.functional.linear(left, right)
        taken.append(clock() - start)
    return 2 * 2048 * 512 * 2816 / sorted(taken)[len(taken) // 2]


def flops(loaded: encoder.Encoder, folder: Path, rows: list[Row]) -> float:
    """Float operations that the distinct tokens and patches need: matrix products and attention."""
    media = MediaReader()
    packed = packing.pack([loaded.backbone.encode(row, folder, media) for row in rows])
    lengths, parents = packed.attention["segment_lengths"], packed.attention["segment_parents"]
    hidden, kv = TEXT["hidden_size"], TEXT["hidden_size"] * 2 // 8
    layer = 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * TEXT["intermediate_size"]
    total = 2.0 * layer * TEXT["num_hidden_layers"] * sum(lengths)
    unread = sum(lengths) - len(rows)  # of the last layer's MLP, whose other states nobody reads
    total -= 2.0 * 3 * hidden * TEXT["intermediate_size"] * unread
    before = segments.before_each(lengths, parents)
    pairs = sum(length * (above + length / 2) for length, above in zip(lengths, before, strict=True))
    total += 4.0 * hidden * TEXT["num_hidden_layers"] * pairs
    width = VISION["embed_dim"]
    for visual in {visual.key: visual for visual in packed.visuals}.values():
        frames, high, wide = visual.grid
        patches = frames * high * wide
        block = 4 * width * width + 2 * width * width * VISION["mlp_ratio"]
        total += 2.0 * patches * (block * VISION["depth"] + 3 * 2 * 14 * 14 * width)
        total += 4.0 * width * VISION["depth"] * frames * (high * wide) ** 2
        total += 2.0 * patches / 4 * (4 * width) * (4 * width + hidden)
    return total
