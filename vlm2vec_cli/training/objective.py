"""What a run minimises: a loss over unit vectors of several lengths, its temperature, its masks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm2vec_cli import plugins
from vlm2vec_cli.errors import UsageError, nearest
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch

_LEAST_WEIGHT = 1e-12  # a batch whose pairs all weigh nothing has no loss and no gradient
_LEAST_LEARNT, _MOST_LEARNT = 0.01, 1.0  # CLIP's bound on the temperature it learns, and a natural upper one


class Temperature(nn.Module):
    """One temperature for all rows, or one for those of each dataset, fixed or learnt (as its logarithm)."""

    def __init__(self, options: TrainOptions) -> None:
        super().__init__()
        self.patterns = [pattern for pattern, _ in options.dataset_temperatures]
        first = [options.temperature, *(value for _, value in options.dataset_temperatures)]
        self._fixed = None if options.learn_temperature else first
        if options.learn_temperature:
            self.log = nn.Parameter(torch.tensor([math.log(value) for value in first]))

    def forward(self, datasets: Sequence[str], device: torch.device) -> float | Tensor:
        """The temperature of all rows, or (B, 1) of each."""
        if self._fixed is not None and len(self._fixed) == 1:
            return self._fixed[0]
        values = torch.tensor(self._fixed, device=device) if self._fixed is not None else self.log.exp()
        return values[[self._number(name) for name in datasets]].unsqueeze(1)

    def _number(self, dataset: str) -> int:
        for number, pattern in enumerate(self.patterns, start=1):
            if fnmatchcase(dataset, pattern):
                return number
        return 0

    def bound(self) -> None:
        """Keeps what is learnt within bounds; to be called after each update."""
        for log in self.parameters():
            log.data.clamp_(math.log(_LEAST_LEARNT), math.log(_MOST_LEARNT))

    def values(self) -> dict[str, float]:
        """What has been learnt, by dataset pattern; `*` is for all others."""
        return {
            name: round(float(value), 6)
            for log in self.parameters()
            for name, value in zip(["*", *self.patterns], log.detach().exp(), strict=True)
        }


class Objective:
    """The loss of a batch as a function of its representations."""

    def __init__(self, options: TrainOptions) -> None:
        module = plugins.load("losses", options.loss)
        self._loss = module.loss
        self._more = loss_options(options.loss, module.loss, dict(options.loss_options))
        self._dims = options.matryoshka
        self._weights = options.matryoshka_weights or (1.0,) * len(options.matryoshka)
        self._margin = options.false_negative_margin
        self.temperature = Temperature(options)

    def __call__(
        self, state_ND: Tensor, query_rows: Tensor, target_rows: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """The loss, a scalar, and (B,) losses of the queries, both in nats.

        `state_ND` holds each distinct content once; the rows say where queries and targets are in it.
        """
        device = state_ND.device
        positive_B, allowed_BN = batch.positive_B.to(device), batch.allowed_BN.to(device)
        weight_B = batch.weight_B.to(device)
        temperature = self.temperature(batch.datasets, device)
        total, each_B = state_ND.new_zeros(()), state_ND.new_zeros(len(query_rows))
        dims = self._dims or (state_ND.shape[1],)
        shares = self._weights or (1.0,)
        for dim, share in zip(dims, shares, strict=True):
            unit = functional.normalize(state_ND[:, :dim], dim=-1)
            query_BD, target_MD = unit[query_rows], unit[target_rows]
            losses_B = self._loss(
                query_BD,
                target_MD,
                positive_B=positive_B,
                allowed_BN=allowed_BN & self._far(query_BD, target_MD, positive_B),
                temperature=temperature,
                **self._more,
            )
            mean = (losses_B * weight_B).sum() / weight_B.sum().clamp_min(_LEAST_WEIGHT)
            total = total + share * mean
            each_B = each_B + share * losses_B.detach()
        return total / sum(shares), each_B / sum(shares)

    def _far(self, query_BD: Tensor, target_MD: Tensor, positive_B: Tensor) -> Tensor | bool:
        """(B, M): False where a target scores more than the margin above the positive, and so may answer the
        query as well."""
        if self._margin is None:
            return True
        with torch.no_grad():
            score_BM = query_BD @ target_MD.T
            return score_BM <= score_BM.gather(1, positive_B[:, None]) + self._margin


def loss_options(name: str, loss: Any, given: Mapping[str, float]) -> dict[str, float]:
    """`given`, if the loss has these options. Raises UsageError otherwise."""
    known = [
        one.name
        for one in inspect.signature(loss).parameters.values()
        if one.kind is one.KEYWORD_ONLY and one.default is not one.empty
    ]
    for option in given:
        if option not in known:
            raise UsageError(
                f"--loss-option: {name} has no {option!r}",
                hint=nearest(option, known) or (f"it has {', '.join(known)}" if known else "it has none"),
            )
    return dict(given)
