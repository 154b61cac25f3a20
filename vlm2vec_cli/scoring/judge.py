"""Rankings and judgements -> the value of every metric for every query.

Q queries, R ranks, X judgements, Y those of a block B of queries, M metrics.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.metrics import Judged, Measure

Ints = NDArray[np.int64]
MOST_EMPTY = 8  # judgements are looked up in tables at most so many times as wide as the rankings
TABLE_CELLS = 1 << 20  # 4 MB, what caches hold


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
        if self._width <= MOST_EMPTY * index_QR.shape[1]:
            place_QR = self._looked_up(query_Q, index_QR)
            return place_QR >= 0, np.maximum(place_QR, 0)
        key_QR = query_Q[:, None] * self._width + index_QR
        place_QR = np.minimum(np.searchsorted(self._key_X, key_QR), len(self._key_X) - 1)
        inside_QR = (index_QR >= 0) & (index_QR < self._width)
        return inside_QR & (self._key_X[place_QR] == key_QR), place_QR

    def _looked_up(self, query_Q: Ints, index_QR: Ints) -> Ints:
        """The place of the judgement at each rank, -1 for none, from tables of a few queries at a time.

        For long rankings several times faster than a search for each of their ranks.
        """
        place_QR = np.empty(index_QR.shape, np.int64)
        size = max(1, TABLE_CELLS // (self._width + 1))
        for start in range(0, len(query_Q), size):
            block_Q, index_BR = query_Q[start : start + size], index_QR[start : start + size]
            count_Q = self.num_relevant_Q[block_Q]
            row_Y = np.repeat(np.arange(len(block_Q)), count_Q)
            first_Y = np.repeat(self._first_Q[block_Q] - np.cumsum(count_Q) + count_Q, count_Q)
            place_Y = first_Y + np.arange(len(row_Y))
            table = np.full((len(block_Q), self._width + 1), -1, np.int32)  # the last column: not judged
            table[row_Y, self._key_X[place_Y] - block_Q[row_Y] * self._width] = place_Y
            column_BR = np.where((index_BR < 0) | (index_BR > self._width), self._width, index_BR)
            place_QR[start : start + size] = np.take_along_axis(table, column_BR, 1)
        return place_QR


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
