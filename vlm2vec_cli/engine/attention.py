"""Exact attention over a packed stream of segments, for transformers' attention interface.

A packed stream holds many independent sequences back to back in one row: (1, heads, T, head_dim). Linear
layers then see no padding at all; only this function knows where one sequence ends. Sequences of one length
are computed together as a batch; sequences of nearly equal length share a causal batch padded on the right,
where padding is never seen.

The name contains "flash" so that transformers hands over the whole stream of the vision tower, too, instead
of cutting it up; no flash kernel is needed.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

NAME = "vlm2vec_flash_packed"

# A causal batch may hold sequences down to this share of its longest one.
_LEAST_FILL = 0.75
# Elements of one (batch, length, length) score matrix, so that long sequences are not batched together.
_MAX_SCORES = 1 << 24


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    segment_lengths: tuple[int, ...] | None = None,
    cu_seq_lens_q: Tensor | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention inside each segment; (1, H, T, d) and (1, Hkv, T, d) -> (1, T, H, d).

    `segment_lengths` sums to T; without it, the segments are those between `cu_seq_lens_q`, as vision towers
    name them. Causal unless `is_causal` (or the module's own attribute) is False.
    """
    if segment_lengths is None:
        assert cu_seq_lens_q is not None
        segment_lengths = tuple(cu_seq_lens_q.diff().tolist())
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    # (T, H, d): stream positions are rows now.
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    grouped = query.shape[1] != key.shape[1]
    pieces, places = [], []
    for batch in _plan(segment_lengths, causal):
        at = batch.gather.to(query.device)
        padded = [
            row.index_select(0, at).view(-1, batch.width, *row.shape[1:]).transpose(1, 2) for row in rows
        ]
        q, k, v = padded
        out = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=dropout,
            is_causal=causal and batch.width > 1,
            scale=scaling,
            enable_gqa=grouped,
        )
        flat = out.transpose(1, 2).reshape(-1, *rows[0].shape[1:])
        if batch.keep is not None:
            keep = batch.keep.to(query.device)
            flat, at = flat.index_select(0, keep), at[keep]
        pieces.append(flat)
        places.append(at)
    order = torch.cat(places)
    stream = torch.empty_like(rows[0]).index_copy(0, order, torch.cat(pieces))
    return stream.unsqueeze(0), None


class _Batch(NamedTuple):
    gather: Tensor  # (segments * width,) rows of the stream; padding repeats a segment's last row
    keep: Tensor | None  # positions of `gather` that are no padding; None when there is none
    width: int


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept here may be used for training after it was made for embedding
def _plan(lengths: tuple[int, ...], causal: bool) -> list[_Batch]:
    """Batches of segments of one length, or, where causality hides right padding, of nearly one length."""
    starts = [0, *accumulate(lengths)]
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: (-lengths[i], i))
    plan: list[_Batch] = []
    at = 0
    while at < len(order):
        width = lengths[order[at]]
        least = width * _LEAST_FILL if causal else width
        most = max(1, _MAX_SCORES // (width * width))
        end = at
        while end < len(order) and end - at < most and lengths[order[end]] >= least:
            end += 1
        members = torch.tensor(order[at:end])
        length = torch.tensor(lengths)[members].unsqueeze(1)
        column = torch.arange(width).unsqueeze(0)
        gather = torch.tensor(starts)[members].unsqueeze(1) + torch.minimum(column, length - 1)
        real = (column < length).flatten()
        plan.append(_Batch(gather.flatten(), None if bool(real.all()) else real.nonzero().flatten(), width))
        at = end
    return plan


AttentionInterface.register(NAME, packed_attention)
