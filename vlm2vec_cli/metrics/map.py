"""Mean average precision with the best reachable value as the denominator."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("mean_average_precision",)
NEEDS_CUTOFF: Final = False


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """Sum of the precision at the rank of each hit within k, divided by min(all relevant, k); shape (Q,).

    0 where nothing is relevant. Walks the list: a relevant candidate that is ranked twice counts twice.
    Without k it is average precision. Source: the MMEB evaluation; trec_eval's `map_cut`, which divides by
    all relevant, is `ap`.
    """
    hit_QR = judged.hit_QR[:, :k]
    precision_QR = np.cumsum(hit_QR, axis=1) / np.arange(1, hit_QR.shape[1] + 1)
    reachable_Q = judged.num_relevant_Q if k is None else np.minimum(judged.num_relevant_Q, k)
    sum_Q = np.where(hit_QR, precision_QR, 0.0).sum(axis=1)
    return np.where(reachable_Q > 0, sum_Q / np.maximum(reachable_Q, 1), 0.0)
