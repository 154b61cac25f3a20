"""InfoNCE whose negatives weigh the more, the nearer they are to the query.

Source: Lan et al. 2025, "LLaVE: Large Language and Vision Embedding Models with Hardness-Weighted Contrastive
Learning", arXiv 2503.04812, equation 5 with its alpha of 9: a negative counts exp(alpha * r) times, where r
is its cosine in the eyes of the model itself (not over the temperature), through which no gradient flows.
The authors' code takes the mean of both directions; here it is the one from queries to targets.
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
    alpha: float = 9.0,
) -> Tensor:
    """(B,) weighted cross-entropies in nats. Rows of both inputs are L2-normalised; `alpha` 0 is InfoNCE.

    With every score equal to s each is log(1 + (n - 1) exp(alpha * s)) for n allowed targets.
    """
    score_BN = query_BD @ target_ND.T
    weight_BN = alpha * score_BN.detach()
    weight_BN = weight_BN.scatter(1, positive_B[:, None], 0.0)
    logits_BN = score_BN / temperature + weight_BN
    return functional.cross_entropy(
        logits_BN.masked_fill(~allowed_BN, float("-inf")), positive_B, reduction="none"
    )
