"""Gradients of a batch loss in the memory of one chunk (GradCache).

1. Every chunk is encoded without a graph; the states of the random generators before each are kept.
2. The loss over all representations gives the gradient of each representation.
3. Every chunk is encoded again under its own random state, with a graph, and its representations are pulled
along
   the gradients of step 2. The sum over chunks is the gradient of the whole batch.

Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

Chunk = TypeVar("Chunk")


def backward(
    chunks: Sequence[Chunk],
    encode: Callable[[Chunk], Tensor],
    loss: Callable[[Tensor], Tensor],
) -> Tensor:
    """Accumulates parameter gradients of loss(cat(encode(chunk) for chunk in chunks)); returns the loss,
    detached.

    `encode` gives (rows, D). One chunk takes the plain way: one forward, one backward.
    """
    if len(chunks) == 1:
        value = loss(encode(chunks[0]))
        torch.autograd.backward(value)
        return value.detach()
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_rng_state())
            parts.append(encode(chunk))
    rows_ND = torch.cat(parts).requires_grad_()
    value = loss(rows_ND)
    (gradient_ND,) = torch.autograd.grad(value, rows_ND)
    for chunk, state, gradient in zip(
        chunks, states, torch.split(gradient_ND, [len(p) for p in parts]), strict=True
    ):
        with _replay(state):
            torch.autograd.backward(encode(chunk), gradient)
    return value.detach()


def _rng_state() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


@contextmanager
def _replay(state: tuple[Tensor, list[Tensor]]) -> Iterator[None]:
    """The generators as they were; what follows the block is not disturbed."""
    cpu, devices = state
    with torch.random.fork_rng(devices=range(len(devices))):
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)
        yield
