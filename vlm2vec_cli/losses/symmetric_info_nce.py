"""InfoNCE in both directions: queries to targets, and positives to queries.

Source: Radford et al. 2021 (CLIP), figure 3: the mean of the two cross-entropies.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from vlm2vec_cli.losses import info_nce


def loss(
    query_BD: Tensor,
    target_ND: Tensor,
    *,
    positive_B: Tensor,
    allowed_BN: Tensor,
    temperature: float | Tensor,
) -> Tensor:
    """(B,) means of both directions, in nats. Explicit negatives count in the first direction only.

    In the second one, query j stands in the denominator of query i's positive unless that positive is masked
    for j.
    """
    logits_BB = target_ND[positive_B] @ query_BD.T / temperature
    masked_BB = logits_BB.masked_fill(~allowed_BN[:, positive_B].T, float("-inf"))
    own = positive_B.new_tensor(range(len(positive_B)))
    there = info_nce.loss(
        query_BD, target_ND, positive_B=positive_B, allowed_BN=allowed_BN, temperature=temperature
    )
    return (there + functional.cross_entropy(masked_BB, own, reduction="none")) / 2
