"""One step: contents to representations in chunks cut by tokens, the loss, the gradients."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional

from vlm2vec_cli import grad_cache
from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.losses import Loss
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch, Side

_LEAST_WEIGHT = 1e-12  # a batch whose pairs all weigh nothing has no loss and no gradient


class Encodings:
    """Encoded sides by content, prepared by threads, kept while they fit into `budget` bytes (oldest leave
    first)."""

    def __init__(self, backbone: Backbone, media: MediaReader, *, workers: int, budget: int) -> None:
        self._backbone = backbone
        self._media = media
        self._budget = budget
        self._pool = ThreadPoolExecutor(max(1, workers))
        self._kept: OrderedDict[str, Encoded] = OrderedDict()
        self._bytes = 0

    def get(self, sides: Sequence[Side]) -> dict[str, Encoded]:
        """Encoded by content key. Raises the first side's UserError with its row's place."""
        missing = {side.key: side for side in sides if side.key not in self._kept}
        found = {side.key: self._kept[side.key] for side in sides if side.key in self._kept}
        for key, encoded in zip(missing, self._pool.map(self._encode, missing.values()), strict=True):
            found[key] = self._kept[key] = encoded
            self._bytes += _size(encoded)
        while self._bytes > self._budget:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= _size(gone)
        return found

    def _encode(self, side: Side) -> Encoded:
        try:
            return self._backbone.encode(side.content, side.root, self._media)
        except UserError as error:
            raise error.at(side.place) from None


def backward(
    batch: Batch,
    backbone: Backbone,
    encodings: Encodings,
    loss: Loss,
    options: TrainOptions,
    *,
    autocast: Callable[[], torch.autocast],
    change: Callable[[Encoded], Encoded] | None = None,
) -> float:
    """Accumulates the gradients of one batch; returns its loss in nats.

    Equal contents are encoded once, and their gradient is the sum over the places they stand in. `change` may
    alter each encoded input once for the step (augmentation).
    """
    sides = (*batch.queries, *batch.targets)
    distinct = encodings.get(sides)
    if change is not None:  # in an order that does not depend on what was encoded before
        distinct = {key: change(distinct[key]) for key in sorted(distinct)}
    order = sorted(distinct, key=lambda key: (distinct[key].num_tokens, key))
    chunks = _chunks([distinct[key] for key in order], options.chunk_tokens if options.grad_cache else None)
    at = {key: position for position, key in enumerate(order)}
    device = backbone.model.device
    query_rows = torch.tensor([at[side.key] for side in batch.queries], device=device)
    target_rows = torch.tensor([at[side.key] for side in batch.targets], device=device)
    positive_B, allowed_BN = batch.positive_B.to(device), batch.allowed_BN.to(device)
    weight_B = batch.weight_B.to(device)

    def encode(chunk: list[Encoded]) -> Tensor:
        with autocast():
            return backbone.forward(chunk).float()

    def whole(states: Tensor) -> Tensor:
        total = states.new_zeros(())
        dims = options.matryoshka or (states.shape[1],)
        for dim in dims:
            unit = functional.normalize(states[:, :dim], dim=-1)
            losses_B = loss(
                unit[query_rows],
                unit[target_rows],
                positive_B=positive_B,
                allowed_BN=allowed_BN,
                temperature=options.temperature,
            )
            total = total + (losses_B * weight_B).sum() / weight_B.sum().clamp_min(_LEAST_WEIGHT)
        return total / len(dims)

    with backbone.seeing_once():
        return float(grad_cache.backward(chunks, encode, whole))


def _chunks(encoded: Sequence[Encoded], tokens: int | None) -> list[list[Encoded]]:
    """Runs of inputs of at most `tokens` tokens and a like number of 2 x 2 patch groups; one input at
    least."""
    chunks: list[list[Encoded]] = [[]]
    used = 0
    for one in encoded:
        cost = one.num_tokens + one.num_patches // 4
        if tokens is not None and chunks[-1] and used + cost > tokens:
            chunks.append([])
            used = 0
        chunks[-1].append(one)
        used += cost
    return chunks


def _size(encoded: Encoded) -> int:
    return encoded.ids.nbytes + sum(visual.patches.nbytes for visual in encoded.visuals)
