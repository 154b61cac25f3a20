"""Gradients of a batch loss in the memory of one chunk (GradCache), on one process or on several.

1. Every chunk but the last is encoded without a graph; the states of the random generators before each are
   kept. The last one is encoded with its graph, which saves it the second pass.
2. The loss over all representations, those of other processes too, gives the gradient of each representation.
3. The last chunk's representations are pulled along their gradient, then every other chunk is encoded again
   under its own random state and pulled likewise. The sum over chunks, and over processes, is the gradient of
   the whole batch: nothing has to be scaled, and processes may have different numbers of chunks and rows.

Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from vlm2vec_cli.generators import RandomState, random_state, set_random_state

Chunk = TypeVar("Chunk")


class Gathered(NamedTuple):
    """The rows of all processes, and where one's own begin."""

    rows_ND: Tensor
    first: int = 0


def backward(
    chunks: Iterable[Chunk],
    encode: Callable[[Chunk], Tensor],
    loss: Callable[[Tensor], Tensor],
    gather: Callable[[Tensor], Gathered] = Gathered,
    between: Callable[[], None] = lambda: None,
) -> Tensor:
    """Accumulates this process's share of the gradients of loss(all rows); returns the loss, detached.

    `chunks` is walked once; at most one chunk has a graph at any time. `encode` gives (rows, D) of a chunk.
    `gather` puts the rows of all processes together, in an order that all agree on; `between` is called
    before the second pass. Parameters that `loss` itself uses get their whole gradient on every process.
    """
    done: list[tuple[Chunk, RandomState, Tensor]] = []
    last: Chunk | None = None
    for chunk in chunks:
        if last is not None:
            state = random_state()
            with torch.no_grad():
                done.append((last, state, encode(last)))
        last = chunk
    parts = [rows for _, _, rows in done]
    pulled = encode(last) if last is not None else None
    if pulled is not None:
        parts.append(pulled.detach())
    own_ND = torch.cat(parts) if parts else torch.empty(0, 0)
    all_ND, first = gather(own_ND)
    all_ND = all_ND.detach().requires_grad_()
    value = loss(all_ND)
    torch.autograd.backward(value)
    assert all_ND.grad is not None
    gradients = torch.split(all_ND.grad[first : first + len(own_ND)], [len(rows) for rows in parts])
    between()
    if pulled is not None:
        torch.autograd.backward(pulled, gradients[-1])
        del pulled
    for (chunk, state, _), gradient in zip(done, gradients, strict=False):
        with _replay(state):
            torch.autograd.backward(encode(chunk), gradient)
    return value.detach()


@contextmanager
def _replay(state: RandomState) -> Iterator[None]:
    """The generators as they were; what follows the block is not disturbed."""
    now = random_state()
    set_random_state(state)
    try:
        yield
    finally:
        set_random_state(now)
