"""Pictures through a vision tower: each distinct one once, a bounded number of patches at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from vlm2vec_cli.engine.pixels import Visual

# Patches of one call; a larger picture or clip has a call of its own.
MAX_PATCHES = 1 << 14


class Seeing:
    """Features of visuals. `look` is one pass of the tower: distinct visuals -> (sum of their tokens, D)."""

    def __init__(self, look: Callable[[Sequence[Visual]], Tensor]) -> None:
        self._look = look
        self._kept: dict[str, Tensor] | None = None

    def __call__(self, visuals: Sequence[Visual], device: torch.device) -> Tensor:
        """(sum of visual tokens, D) in the order of `visuals`, which need not be distinct."""
        kept = self._kept or {}
        parts = {visual.key: kept[visual.key].to(device) for visual in visuals if visual.key in kept}
        new = {visual.key: visual for visual in visuals if visual.key not in parts}
        for call in _calls(list(new.values())):
            features = torch.split(self._look(call), [visual.num_tokens for visual in call])
            parts.update((visual.key, part) for visual, part in zip(call, features, strict=True))
        if self._kept is not None:
            self._kept.update((name, parts[name].detach().cpu()) for name in new)
        if len(parts) == len(visuals) == 1:
            return parts[visuals[0].key]
        return torch.cat([parts[visual.key] for visual in visuals])

    @contextmanager
    def once(self, tower: torch.nn.Module) -> Iterator[None]:
        """Inside, a picture passes a frozen tower once, however many forward passes need it.

        What the tower computed waits in host memory: less than the patches it came from take there.
        """
        trained = any(parameter.requires_grad for parameter in tower.parameters())
        self._kept = None if trained else {}
        try:
            yield
        finally:
            self._kept = None


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
