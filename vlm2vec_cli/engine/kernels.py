"""Variable-length attention kernels of GPUs, used only where they are seen to be right.

PyTorch's own `varlen_attn` is asked first, then the flash-attn package. Before its first use a kernel answers
a small question whose answer is known: versions differ in which corner a causal mask is anchored to when
there are more keys than queries.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

log = logging.getLogger(__name__)

# (rows, heads, head_dim) of queries, keys and values; (segments + 1,) int32 where each segment's queries and
# keys begin and end; the longest of both; causal, anchored to the last key; scale.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int, bool, "float | None"], Tensor]

_MAX_HEAD_DIM = 256
_OLDEST = (8, 0)  # compute capability of the first GPUs that these kernels run on
_TOLERANCE = 3e-2  # bfloat16 has 8 bits


@lru_cache(maxsize=16)
def find(device: torch.device, dtype: torch.dtype, head_dim: int, gradient: bool) -> Kernel | None:
    """The kernel for tensors like these; None where there is none, or none that is right.

    With `gradient` its gradients have to be right, too.
    """
    half = dtype in (torch.float16, torch.bfloat16)
    if device.type != "cuda" or not half or head_dim % 8 or head_dim > _MAX_HEAD_DIM:
        return None
    if torch.version.hip is not None or torch.cuda.get_device_capability(device) < _OLDEST:
        return None
    for kernel in _installed():
        try:
            if right(kernel, device, dtype, head_dim, gradient):
                return kernel
        except Exception as error:  # whatever a kernel that does not fit this GPU raises
            log.debug("%s is not used: %s", kernel.__name__, error)
    return None


@torch.inference_mode(False)
def right(kernel: Kernel, device: torch.device, dtype: torch.dtype, head_dim: int, gradient: bool) -> bool:
    """Whether the kernel gives what plain attention gives for one segment with and one without ancestors."""
    generator = torch.Generator().manual_seed(0)
    keys, queries, heads, kv_heads = [7, 5], [3, 5], 4, 2
    given = [
        torch.randn(sum(lengths), count, head_dim, generator=generator).to(device, dtype)
        for lengths, count in ((queries, heads), (keys, kv_heads), (keys, kv_heads))
    ]
    ends = [
        torch.tensor([0, lengths[0], sum(lengths)], dtype=torch.int32, device=device)
        for lengths in (queries, keys)
    ]
    answers = []
    with torch.set_grad_enabled(gradient):
        for way in (kernel, _plainly):
            rows = [one.clone().requires_grad_(gradient) for one in given]
            q, k, v = rows
            out = way(q, k, v, ends[0], ends[1], max(queries), max(keys), True, None)
            gradients = torch.autograd.grad(out.float().square().sum(), rows) if gradient else ()
            answers.append([out.detach(), *gradients])
    return all(
        torch.allclose(ours.float(), theirs.float(), atol=_TOLERANCE * float(theirs.abs().max()))
        for ours, theirs in zip(*answers, strict=True)
    )


def _plainly(
    query: Tensor, key: Tensor, value: Tensor, ends_q: Tensor, ends_k: Tensor, max_q: int, max_k: int,
    causal: bool, scale: float | None,
) -> Tensor:  # fmt: skip
    """A kernel that is right and slow."""
    parts = []
    for number in range(len(ends_q) - 1):
        inside, over = (slice(int(ends[number]), int(ends[number + 1])) for ends in (ends_q, ends_k))
        q, k, v = (one.float().transpose(0, 1) for one in (query[inside], key[over], value[over]))
        k, v = (one.repeat_interleave(len(q) // len(k), dim=0) for one in (k, v))
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device)
        mask = mask.tril(k.shape[1] - q.shape[1]) if causal else mask
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        parts.append(out.transpose(0, 1))
    return torch.cat(parts).to(query.dtype)


def _pytorch(varlen_attn: Callable[..., Any], **more: int) -> Kernel:
    def pytorch(
        q: Tensor, k: Tensor, v: Tensor, ends_q: Tensor, ends_k: Tensor, max_q: int, max_k: int,
        causal: bool, scale: float | None,
    ) -> Tensor:  # fmt: skip
        window = (-1, 0) if causal else (-1, -1)
        grouped = q.shape[1] != k.shape[1]
        out: Tensor = varlen_attn(
            q, k, v, ends_q, ends_k, max_q, max_k, scale=scale, window_size=window, enable_gqa=grouped, **more
        )
        return out

    return pytorch


def _installed() -> Iterator[Kernel]:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        pass  # PyTorch before 2.10
    else:
        known = inspect.signature(varlen_attn).parameters
        if "window_size" in known:  # its name in 2.10 was another
            if "num_splits" in known:
                # Keys in one piece: what a segment gives does not depend on the longest one beside it.
                yield _pytorch(varlen_attn, num_splits=1)
            yield _pytorch(varlen_attn)
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError:
        return

    def flash_attn(
        q: Tensor, k: Tensor, v: Tensor, ends_q: Tensor, ends_k: Tensor, max_q: int, max_k: int,
        causal: bool, scale: float | None,
    ) -> Tensor:  # fmt: skip
        out: Tensor = flash_attn_varlen_func(
            q, k, v, ends_q, ends_k, max_q, max_k, causal=causal, softmax_scale=scale
        )
        return out

    yield flash_attn
