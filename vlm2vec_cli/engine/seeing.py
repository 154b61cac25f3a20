"""Pictures through a vision tower: each distinct one once, a bounded number of patches at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from vlm2vec_cli.engine.pixels import Visual

# Patches of one call; a larger picture or clip has a call of its own.
MAX_PATCHES = 1 << 14
# Bytes of features that wait in host memory: some 2,000 pictures of 256 tokens of a 2B model in bfloat16.
KEPT_BYTES = 1 << 31
_SLAB_BYTES = 1 << 25


class Seeing:
    """Features of visuals. `look` is one pass of the tower: distinct visuals -> (sum of their tokens, D)."""

    def __init__(self, look: Callable[[Sequence[Visual]], Tensor], *, budget: int = KEPT_BYTES) -> None:
        self._look = look
        self._budget = budget
        self._left = 0
        self._kept: dict[str, Tensor] | None = None
        self._slab = torch.empty(0, 0)

    def __call__(self, visuals: Sequence[Visual], device: torch.device) -> Tensor:
        """(sum of visual tokens, D) in the order of `visuals`, which need not be distinct."""
        kept = self._kept or {}
        parts = {visual.key: kept[visual.key].to(device) for visual in visuals if visual.key in kept}
        new = {visual.key: visual for visual in visuals if visual.key not in parts}
        for call in _calls(list(new.values())):
            features = torch.split(self._look(call), [visual.num_tokens for visual in call])
            parts.update((visual.key, part) for visual, part in zip(call, features, strict=True))
        if self._kept is not None:
            for name in new:
                self._keep(name, parts[name])
        if len(parts) == len(visuals) == 1:
            return parts[visuals[0].key]
        return torch.cat([parts[visual.key] for visual in visuals])

    @contextmanager
    def once(self, tower: torch.nn.Module) -> Iterator[bool]:
        """Inside, a picture passes a frozen tower once, however many forward passes need it. Gives whether it
        is frozen.

        What the tower computed waits in host memory, up to the budget; what comes when that is full is
        computed again. The first are kept, not the latest: passes take them in one order again and again.
        """
        trained = any(parameter.requires_grad for parameter in tower.parameters())
        self._kept, self._left = None if trained else {}, self._budget
        try:
            yield not trained
        finally:
            self._kept, self._slab = None, torch.empty(0, 0)

    def _keep(self, name: str, features: Tensor) -> None:
        if self._kept is not None and features.nbytes <= self._left:
            self._kept[name] = self._place(features).copy_(features.detach())
            self._left -= features.nbytes

    def _place(self, features: Tensor) -> Tensor:
        """Host memory for features, cut from a slab.

        Small blocks of their own would lie among the large ones that each pass takes and gives back, and
        leave holes that none of these fits into: eight times the memory of the features.
        """
        number, width = features.shape
        if len(self._slab) < number or self._slab.shape[1] != width or self._slab.dtype != features.dtype:
            rows = max(number, _SLAB_BYTES // (width * features.element_size()))
            self._slab = torch.empty(rows, width, dtype=features.dtype)
        place, self._slab = self._slab[:number], self._slab[number:]
        return place


def _calls(visuals: Sequence[Visual]) -> Iterator[list[Visual]]:
    call: list[Visual] = []
    patches = 0
    for visual in visuals:
        if call and patches + visual.num_patches > MAX_PATCHES:
            yield call
            call, patches = [], 0
        call.append(visual)
        patches += visual.num_patches
    if call:
        yield call
