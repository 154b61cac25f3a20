"""nDCG with exponential gain."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("ndcg_exp", "ndcg_burges", "ndcg(dcg='exp_log2')")
NEEDS_CUTOFF: Final = False


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """DCG@k over that of the ideal ranking, gain 2^rel - 1, discount log2(rank + 1); shape (Q,).

    0 where the ideal is 0; equal to `ndcg_linear` where all gains are 0 or 1. Source: Burges et al. 2005,
    Learning to rank using gradient descent.
    """
    # both sides are divided by 2^best, so that nothing overflows
    best_Q1 = judged.ideal_QR.max(axis=1, initial=0.0, keepdims=True)
    nothing_Q1 = np.exp2(-best_Q1)
    gain_QR = np.exp2(judged.gain_QR[:, :k] - best_Q1) - nothing_Q1
    ideal_QR = np.exp2(judged.ideal_QR[:, :k] - best_Q1) - nothing_Q1
    discount_R = 1.0 / np.log2(np.arange(2, gain_QR.shape[1] + 2))
    ideal_Q = (ideal_QR * discount_R).sum(axis=1)
    reached_Q = (gain_QR * discount_R).sum(axis=1)
    return np.where(ideal_Q > 0, reached_Q / np.where(ideal_Q > 0, ideal_Q, 1.0), 0.0)
