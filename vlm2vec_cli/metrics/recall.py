"""Recall at k."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged

SPELLINGS: Final = ("r",)
NEEDS_CUTOFF: Final = True


def measure(judged: Judged, k: int | None) -> NDArray[np.float64]:
    """Different relevant candidates among the first k, divided by all relevant ones; shape (Q,).

    A query without anything relevant has found all of it: 1. Source: trec_eval, `recall`; the empty case is
    that of the MMEB evaluation.
    """
    found_Q = (judged.hit_QR & ~judged.repeat_QR)[:, :k].sum(axis=1)
    return np.where(judged.num_relevant_Q > 0, found_Q / np.maximum(judged.num_relevant_Q, 1), 1.0)
