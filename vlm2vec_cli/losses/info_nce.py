"""InfoNCE from queries to targets, with in-batch and explicit negatives.

Source: van den Oord et al. 2018, equation 4; VLM2Vec trains with it in this direction at temperature 0.02.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def loss(
    query_BD: Tensor,
    target_ND: Tensor,
    *,
    positive_B: Tensor,
    allowed_BN: Tensor,
    temperature: float | Tensor,
) -> Tensor:
    """(B,) cross-entropies of the positive among the allowed targets, in nats.

    Rows of both inputs are L2-normalised. With every target equal each is log of the number of allowed
    targets.
    """
    logits_BN = query_BD @ target_ND.T / temperature
    return functional.cross_entropy(
        logits_BN.masked_fill(~allowed_BN, float("-inf")), positive_B, reduction="none"
    )
