"""Mean reciprocal rank."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("rr", "recip_rank", "mrr_cut")
NEEDS_CUTOFF: Final = False


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """1 / rank of the first relevant candidate within k, else 0; shape (Q,).

    Source: Voorhees 1999, The TREC-8 question answering track report; trec_eval, `recip_rank`.
    """
    hit_QR = judged.hit_QR[:, :k]
    if not hit_QR.shape[1]:
        return np.zeros(len(hit_QR))
    return np.where(hit_QR.any(axis=1), 1.0 / (hit_QR.argmax(axis=1) + 1), 0.0)
