"""Rankings and judgements -> the value of every metric for every query.

Q queries, R ranks, X judgements, M metrics.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged, Measure

Ints = NDArray[np.int64]


class Judgements:
    """Which candidates are relevant to which query, and how much; candidates are numbers from 0.

    `relevant[query]` maps a candidate to its gain; with gain 0 it still counts for metrics without gains.
    """

    def __init__(self, relevant: Sequence[Mapping[int, float]]) -> None:
        pairs = [
            (query, index, gain) for query, gains in enumerate(relevant) for index, gain in gains.items()
        ]
        query_X = np.array([query for query, _, _ in pairs], np.int64)
        index_X = np.array([index for _, index, _ in pairs], np.int64)
        gain_X = np.array([gain for _, _, gain in pairs], np.float64)
        self._width = int(index_X.max(initial=-1)) + 1
        key_X = query_X * self._width + index_X
        order_X = np.argsort(key_X)
        self._key_X, self._gain_X = key_X[order_X], gain_X[order_X]
        self.num_relevant_Q: Ints = np.bincount(query_X, minlength=len(relevant)).astype(np.int64)
        ideal_X = np.lexsort((-gain_X, query_X))
        self._ideal_X, self._first_Q = gain_X[ideal_X], np.cumsum(self.num_relevant_Q) - self.num_relevant_Q

    def relevant(self, query_Q: Ints, index_QR: Ints) -> NDArray[np.bool_]:
        """Whether the candidate at each rank is relevant to the query of its row; -1 never is."""
        return self._find(query_Q, index_QR)[0]

    def judge(self, query_Q: Ints, index_QR: Ints, num_ranks: int, *, unique: bool = False) -> Judged:
        """The rankings with their judgements, padded to at least `num_ranks` ranks; `unique`: no repeats."""
        missing = num_ranks - index_QR.shape[1]
        if missing > 0:
            index_QR = np.pad(index_QR, ((0, 0), (0, missing)), constant_values=-1)
        hit_QR, place_QR = self._find(query_Q, index_QR)
        gain_QR = (
            np.where(hit_QR, self._gain_X[place_QR], 0.0) if len(self._gain_X) else np.zeros(hit_QR.shape)
        )
        repeat_QR = np.zeros(hit_QR.shape, bool) if unique else repeats(index_QR)
        num_relevant_Q = self.num_relevant_Q[query_Q]
        ideal_QR = np.zeros(hit_QR.shape)
        rank_R = np.arange(hit_QR.shape[1])
        filled_QR = rank_R < num_relevant_Q[:, None]
        ideal_QR[filled_QR] = self._ideal_X[(self._first_Q[query_Q][:, None] + rank_R)[filled_QR]]
        return Judged(hit_QR, repeat_QR, gain_QR, num_relevant_Q, ideal_QR)

    def _find(self, query_Q: Ints, index_QR: Ints) -> tuple[NDArray[np.bool_], Ints]:
        if not len(self._key_X):
            return np.zeros(index_QR.shape, bool), np.zeros(index_QR.shape, np.int64)
        key_QR = query_Q[:, None] * self._width + index_QR
        place_QR = np.minimum(np.searchsorted(self._key_X, key_QR), len(self._key_X) - 1)
        inside_QR = (index_QR >= 0) & (index_QR < self._width)
        return inside_QR & (self._key_X[place_QR] == key_QR), place_QR


def repeats(index_QR: Ints) -> NDArray[np.bool_]:
    """Marks each candidate that stands at a better rank of its row already."""
    repeat_QR = np.zeros(index_QR.shape, bool)
    order_QR = np.argsort(index_QR, axis=1, kind="stable")
    sorted_QR = np.take_along_axis(index_QR, order_QR, 1)
    same_QR = (sorted_QR[:, 1:] == sorted_QR[:, :-1]) & (sorted_QR[:, 1:] >= 0)
    np.put_along_axis(repeat_QR, order_QR[:, 1:], same_QR, 1)
    return repeat_QR


def num_ranks(measures: Sequence[Measure], num_relevant_Q: Ints) -> int:
    """How many ranks the measures look at, beyond the rankings' own length where that is shorter."""
    cutoffs = [measure.k for measure in measures if measure.k is not None]
    whole = int(num_relevant_Q.max(initial=0)) if len(cutoffs) < len(measures) else 0
    return max([*cutoffs, whole, 1])


def values(measures: Sequence[Measure], judged: Judged) -> NDArray[np.float64]:
    """Every measure of every query, shape (Q, M)."""
    return np.stack([measure(judged) for measure in measures], axis=1)
