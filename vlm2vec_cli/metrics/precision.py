"""Precision at k."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("p",)
NEEDS_CUTOFF: Final = True


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """Different relevant candidates among the first k, divided by k, also where fewer are ranked; shape (Q,).

    Raises ValueError without k. Source: trec_eval, `P`.
    """
    if k is None:
        raise ValueError("precision needs a cutoff")
    found_Q: NDArray[np.int64] = (judged.hit_QR & ~judged.repeat_QR)[:, :k].sum(axis=1)
    return found_Q / k
