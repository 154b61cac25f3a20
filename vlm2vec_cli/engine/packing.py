"""Many inputs as one stream of tokens: no padding, equal beginnings once, each picture once.

A backbone packs a batch, embeds `ids`, puts the features of `visuals` at `slots`, runs its decoder over the
(1, T) stream with `positions`, hands `attention` to it, and reads the states at `last`:

    packed = packing.pack(batch)
    states = decoder(..., position_ids=positions, **packed.attention)

What a token sees is decided by its row alone, so a backbone with positions of its own computes them row by
row and takes `positions[packed.take]` of their concatenation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlm2vec_cli.engine import tree
from vlm2vec_cli.engine.pixels import Visual

Ids = NDArray[np.int64]


class Row(Protocol):
    """One tokenised input: `vlm2vec_cli.backbones.Encoded`."""

    @property
    def ids(self) -> Ids:
        """(tokens,), visual tokens expanded."""

    @property
    def visuals(self) -> tuple[Visual, ...]:
        """In the order in which their tokens stand."""

    @property
    def slots(self) -> Ids:
        """Positions of the tokens that the visuals fill, in stream order."""


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A batch as one stream of T tokens."""

    ids: Ids  # (T,)
    positions: Ids  # (T,) of each token in its row, from 0
    take: Ids  # (T,) the token of the concatenated rows that each token is
    slots: Ids  # (V,) where the features of `visuals` belong
    visuals: tuple[Visual, ...]  # in the order of `slots`
    last: Ids  # (B,) where the last token of each row stands
    attention: dict[str, Any]  # keyword arguments of `attention.packed_attention`, through the model


def pack(batch: Sequence[Row]) -> Pack:
    """The stream of a batch of at least one row; it is never longer than the rows together."""
    shared = tree.build(sequences(batch))
    ids = np.concatenate([row.ids for row in batch])
    positions = np.concatenate([np.arange(len(row.ids)) for row in batch])
    filled = np.full(len(ids), -1)
    visuals: list[Visual] = []
    offset = 0
    for row in batch:
        at = 0
        for visual in row.visuals:
            filled[row.slots[at : at + visual.num_tokens] + offset] = len(visuals)
            at += visual.num_tokens
            visuals.append(visual)
        offset += len(row.ids)
    kept = filled[shared.take]
    slots = np.flatnonzero(kept >= 0)
    return Pack(
        ids[shared.take],
        positions[shared.take],
        shared.take,
        slots,
        tuple(visuals[number] for number in dict.fromkeys(kept[slots].tolist())),
        shared.last,
        {"segment_lengths": shared.lengths, "segment_parents": shared.parents},
    )


def sequences(rows: Sequence[Row]) -> list[Ids]:
    """Each row as integers that are equal where rows look alike: ids, and for the tokens of a visual its
    number among the distinct visuals of `rows` with the token's place in it."""
    numbers: dict[str, int] = {}
    found = []
    for row in rows:
        if not row.visuals:
            found.append(row.ids)
            continue
        inside = [
            -((1 + numbers.setdefault(visual.key, len(numbers))) << 32) - np.arange(visual.num_tokens)
            for visual in row.visuals
        ]
        ids = row.ids.copy()
        ids[row.slots] = np.concatenate(inside)
        found.append(ids)
    return found


@contextmanager
def reading_only(last: Tensor, mlp: nn.Module) -> Iterator[None]:
    """Inside, `mlp`, that of the decoder's last layer, works on the rows `last` (B,) of its (1, T, D) alone.

    Nobody reads the other states of that layer: they go on without the MLP's part. Where a gradient is
    wanted everything is computed, since checkpointing repeats a layer after the block; in training, too,
    since a pass without gradients has to draw the dropout of the one with them.
    """
    if torch.is_grad_enabled() or mlp.training:
        yield
        return

    length = 0

    def choose(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        nonlocal length
        length = given[0].shape[1]
        return (given[0].index_select(1, last), *given[1:])

    def put_back(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return out.new_zeros(1, length, out.shape[-1]).index_copy_(1, last, out)

    hooks = [mlp.register_forward_pre_hook(choose), mlp.register_forward_hook(put_back)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
