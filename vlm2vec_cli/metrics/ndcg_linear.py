"""nDCG with linear gain."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("ndcg", "ndcg_cut", "ndcg(dcg='log2')")
NEEDS_CUTOFF: Final = False


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """DCG@k over that of the ideal ranking, gain rel, discount log2(rank + 1); shape (Q,).

    0 where the ideal is 0. Without gains of their own the relevant candidates have gain 1. Source: Järvelin &
    Kekäläinen 2002, in trec_eval's form (`ndcg_cut`); MMEB's main metric for visual documents at k = 5.
    """
    gain_QR, ideal_QR = judged.gain_QR[:, :k], judged.ideal_QR[:, :k]
    discount_R = 1.0 / np.log2(np.arange(2, gain_QR.shape[1] + 2))
    ideal_Q = (ideal_QR * discount_R).sum(axis=1)
    reached_Q = (gain_QR * discount_R).sum(axis=1)
    return np.where(ideal_Q > 0, reached_Q / np.where(ideal_Q > 0, ideal_Q, 1.0), 0.0)
