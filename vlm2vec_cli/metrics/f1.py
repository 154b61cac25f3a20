"""F1 at k."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("f", "f_score", "setf")
NEEDS_CUTOFF: Final = True


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """Harmonic mean of precision@k and recall@k, 0 where both are 0; shape (Q,).

    With F found, that is 2 F / (k + all relevant). Raises ValueError without k. Source: van Rijsbergen 1979,
    Information Retrieval, chapter 7.
    """
    if k is None:
        raise ValueError("f1 needs a cutoff")
    found_Q: NDArray[np.int64] = (judged.hit_QR & ~judged.repeat_QR)[:, :k].sum(axis=1)
    return 2.0 * found_Q / (k + judged.num_relevant_Q)
