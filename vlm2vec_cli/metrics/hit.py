"""Hit rate, also called success or Recall@k with one relevant candidate."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("success", "hits", "hitrate", "hit_rate", "accuracy", "acc")
NEEDS_CUTOFF: Final = True


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """1 where one of the first k candidates is relevant, else 0; shape (Q,).

    Source: trec_eval, `success`; MMEB's main metric for images and videos at k = 1.
    """
    found_Q: NDArray[np.bool_] = np.any(judged.hit_QR[:, :k], axis=1)
    return found_Q.astype(np.float64)
