"""Average precision as in trec_eval."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("map_cut", "average_precision")
NEEDS_CUTOFF: Final = False


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """Sum of the precision at the rank of each hit within k, divided by all relevant; shape (Q,).

    0 where nothing is relevant. Differs from `map` where more than k candidates are relevant. Source:
    trec_eval, `map_cut` and `map`; ir-measures, `AP`.
    """
    hit_QR = judged.hit_QR[:, :k]
    precision_QR = np.cumsum(hit_QR, axis=1) / np.arange(1, hit_QR.shape[1] + 1)
    sum_Q = np.where(hit_QR, precision_QR, 0.0).sum(axis=1)
    return np.where(judged.num_relevant_Q > 0, sum_Q / np.maximum(judged.num_relevant_Q, 1), 0.0)
