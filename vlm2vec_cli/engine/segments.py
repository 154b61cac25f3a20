"""Which rows of a packed stream attend to which: segments of a stream in batches, and laid out in a row.

A segment may continue another one, its parent; its ancestors' keys stand before its own. Plans are kept,
since every layer of a pass asks for the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

# A causal batch may hold sequences down to this share of its longest one.
_LEAST_FILL = 0.75
# Elements of one (batch, queries, keys) score matrix, so that long sequences are not batched together.
_MAX_SCORES = 1 << 24


class Batch(NamedTuple):
    """Segments that attend in one call."""

    size: int  # segments
    queries: Tensor  # (size * width,) rows of the stream; padding repeats a segment's last row
    keys: Tensor  # (size * (ancestors + width),) ancestors first
    mask: Tensor | None  # (width, ancestors + width), True where a query sees a key; None without ancestors
    real: Tensor | None  # positions of `queries` that are no padding; None when there is none


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept here may be used for training after it was made for embedding
def batches(
    lengths: tuple[int, ...], parents: tuple[int, ...], causal: bool, device: torch.device
) -> list[Batch]:
    """Batches of segments of one length and number of ancestors' keys, or, where causality hides right
    padding, of nearly one length."""
    starts = [0, *accumulate(lengths)]
    before = before_each(lengths, parents)
    order = sorted(
        (i for i, length in enumerate(lengths) if length), key=lambda i: (before[i], -lengths[i], i)
    )
    plan: list[Batch] = []
    at = 0
    while at < len(order):
        width, above = lengths[order[at]], before[order[at]]
        least = width * _LEAST_FILL if causal else width
        most = max(1, _MAX_SCORES // (width * (above + width)))
        end = at
        while (
            end < len(order)
            and end - at < most
            and before[order[end]] == above
            and lengths[order[end]] >= least
        ):
            end += 1
        members = torch.tensor(order[at:end])
        length = torch.tensor(lengths)[members].unsqueeze(1)
        column = torch.arange(width).unsqueeze(0)
        own = torch.tensor(starts)[members].unsqueeze(1) + torch.minimum(column, length - 1)
        keys, mask = own, None
        if above:
            over = [torch.cat(_ancestors(i, lengths, parents, starts)) for i in order[at:end]]
            keys = torch.cat([torch.stack(over), own], dim=1)
            mask = torch.ones(width, above + width, dtype=torch.bool).tril(above).to(device)
        real = (column < length).flatten()
        plan.append(
            Batch(
                end - at,
                own.flatten().to(device),
                keys.flatten().to(device),
                mask if width > 1 else None,
                None if bool(real.all()) else real.nonzero().flatten().to(device),
            )
        )
        at = end
    return plan


def before_each(lengths: Sequence[int], parents: Sequence[int]) -> list[int]:
    """The number of ancestors' keys of each segment."""
    found: list[int] = []
    for parent in parents:
        found.append(found[parent] + lengths[parent] if parent >= 0 else 0)
    return found


def _ancestors(
    segment: int, lengths: Sequence[int], parents: Sequence[int], starts: Sequence[int]
) -> list[Tensor]:
    """The rows of a segment's ancestors, the first one first."""
    found = []
    while (segment := parents[segment]) >= 0:
        found.append(torch.arange(starts[segment], starts[segment] + lengths[segment]))
    return found[::-1]


class Ragged(NamedTuple):
    """Segments one after the other, with their keys, for a variable-length kernel."""

    keys: Tensor | None  # rows of the stream that are each segment's keys, ancestors first; None: all as is
    query_ends: Tensor  # (segments + 1,) int32
    key_ends: Tensor
    max_queries: int
    max_keys: int


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def ragged(lengths: tuple[int, ...], parents: tuple[int, ...], device: torch.device) -> Ragged:
    """All segments in one call."""
    starts = [0, *accumulate(lengths)]
    totals = [above + length for above, length in zip(before_each(lengths, parents), lengths, strict=True)]
    keys = None
    if totals != list(lengths):
        rows = [
            piece
            for i, length in enumerate(lengths)
            for piece in (
                *_ancestors(i, lengths, parents, starts),
                torch.arange(starts[i], starts[i] + length),
            )
        ]
        keys = torch.cat(rows).to(device)
    ends = [
        torch.tensor([0, *accumulate(each)], dtype=torch.int32, device=device) for each in (lengths, totals)
    ]
    return Ragged(keys, ends[0], ends[1], max(lengths), max(totals))
