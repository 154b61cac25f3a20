"""Exact attention over a packed stream of segments, for transformers' attention interface.

A packed stream holds many sequences back to back in one row: (1, heads, T, head_dim). Linear layers then see
no padding at all; only this function knows where one sequence ends. A segment may continue another one (its
parent): its queries see all keys of its ancestors, then its own, causally.

On a GPU, in half precision, all segments go through one call of a variable-length kernel. Elsewhere segments
of like length and equally many ancestor keys form batches for PyTorch's scaled_dot_product_attention; a
causal batch may be padded on the right, where padding is never seen.

The name contains "flash" so that transformers hands over the whole stream of the vision tower, too, instead
of cutting it up; no flash kernel is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface

from vlm2vec_cli.engine import kernels, segments

NAME = "vlm2vec_flash_packed"

# Scores of one head up to which plain matrix products train faster than the CPU's fused kernel, which gains
# nothing from a second thread there: 1.8 times as fast at 36 x 36 on two threads, as fast at 300 x 300.
_SMALL_SCORES = 128 * 128


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    segment_lengths: tuple[int, ...] | None = None,
    segment_parents: tuple[int, ...] | None = None,
    cu_seq_lens_q: Tensor | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention inside each segment and its ancestors; (1, H, T, d) and (1, Hkv, T, d) -> (1, T, H, d).

    `segment_lengths` sums to T; without it, the segments are those between `cu_seq_lens_q`, as vision towers
    name them. `segment_parents` names for each segment the earlier one that it continues, -1 for none; None
    where no segment continues another. Causal unless `is_causal` (or the module's own attribute) is False;
    only causal segments have parents.
    """
    if segment_lengths is None:
        assert cu_seq_lens_q is not None
        segment_lengths = tuple(cu_seq_lens_q.diff().tolist())
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    parents = segment_parents or (-1,) * len(segment_lengths)
    # (T, H, d): stream positions are rows now.
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    wanted = (query.device, query.dtype, query.shape[-1], torch.is_grad_enabled())
    kernel = None if dropout else kernels.find(*wanted)
    if kernel is None:
        stream = _in_batches(rows, segment_lengths, parents, causal, scaling, dropout, module.training)
    else:
        stream = _in_one_call(kernel, rows, segment_lengths, parents, causal, scaling)
    return stream.unsqueeze(0), None


# ----------------------------------------------------------------- batches of segments


def _in_batches(
    rows: Sequence[Tensor],
    lengths: tuple[int, ...],
    parents: tuple[int, ...],
    causal: bool,
    scaling: float | None,
    dropout: float,
    trains: bool,
) -> Tensor:
    heads, kv_heads = rows[0].shape[1], rows[1].shape[1]
    pieces, places = [], []
    for batch in segments.batches(lengths, parents, causal, rows[0].device):
        q, k, v = (
            row.index_select(0, at).view(batch.size, -1, *row.shape[1:]).transpose(1, 2)
            for row, at in zip(rows, (batch.queries, batch.keys, batch.keys), strict=True)
        )
        with _kernel(trains, q.device, q.shape[2] * k.shape[2]):
            out = functional.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=batch.mask,
                dropout_p=dropout,
                is_causal=causal and batch.mask is None and q.shape[2] > 1,
                scale=scaling,
                enable_gqa=heads != kv_heads,
            )
        flat, at = out.transpose(1, 2).reshape(-1, *rows[0].shape[1:]), batch.queries
        if batch.real is not None:
            flat, at = flat.index_select(0, batch.real), at[batch.real]
        pieces.append(flat)
        places.append(at)
    if len(pieces) == 1:
        order, flat = places[0], pieces[0]
    else:
        order, flat = torch.cat(places), torch.cat(pieces)
    return torch.empty_like(rows[0]).index_copy(0, order, flat)


def _kernel(trains: bool, device: torch.device, num_scores: int) -> AbstractContextManager[None]:
    """PyTorch's choice, but for small score matrices in training on several threads of a CPU.

    Passes of a training step without a graph take it too: what they give is then to the bit what the pass
    with the graph gives, which the gradients of GradCache rest on.
    """
    small = trains and device.type == "cpu" and num_scores <= _SMALL_SCORES
    return sdpa_kernel(SDPBackend.MATH) if small and torch.get_num_threads() > 1 else nullcontext()


# ------------------------------------------------------- one call of a variable-length kernel


def _in_one_call(
    kernel: kernels.Kernel,
    rows: Sequence[Tensor],
    lengths: tuple[int, ...],
    parents: tuple[int, ...],
    causal: bool,
    scaling: float | None,
) -> Tensor:
    plan = segments.ragged(lengths, parents, rows[0].device)
    query, key, value = rows
    if plan.keys is not None:
        key, value = key.index_select(0, plan.keys), value.index_select(0, plan.keys)
    ends = (plan.query_ends, plan.key_ends)
    return kernel(query, key, value, *ends, plan.max_queries, plan.max_keys, causal, scaling)


AttentionInterface.register(NAME, packed_attention)
