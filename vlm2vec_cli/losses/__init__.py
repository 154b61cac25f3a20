"""Contrastive losses: one a file, each a module with `loss`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Protocol):
    """B queries, N targets (positives and negatives of the whole batch), D dimensions.

    A loss may take further keyword arguments with a number as default; `train --loss-option NAME=VALUE` sets
    them.
    """

    def __call__(
        self,
        query_BD: Tensor,
        target_ND: Tensor,
        *,
        positive_B: Tensor,
        allowed_BN: Tensor,
        temperature: float | Tensor,
    ) -> Tensor:
        """(B,) losses in nats, one a query; the caller takes the (weighted) mean.

        `positive_B` is the target index of each query's positive; `allowed_BN` is True where a target may
        stand in a query's denominator (its positive always is). `temperature` is one number, or (B, 1).
        """
        ...
