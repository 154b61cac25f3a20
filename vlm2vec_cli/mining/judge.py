"""A second embedder's opinion of what a method found: near its positive, a candidate is no negative.

It embeds queries, positives, and those targets alone that some pair is about to get.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.mining.pairs import Pairs
from vlm2vec_cli.mining.vectors import Side
from vlm2vec_cli.nearest import QUERY_ROWS, Floats, Ints, Rows, dots

Encode = Callable[[Side, Sequence[int]], None]


class Judge:
    """Scores by vectors of its own: `queries` and `targets` are filled by `encode` as units are asked about.

    A candidate is refused above (1 - margin) of the lowest score of its query's positives, and where it
    cannot be scored.
    """

    def __init__(self, pairs: Pairs, queries: Side, targets: Side, encode: Encode, margin: float) -> None:
        self._query = np.array(pairs.query, dtype=np.int64)
        self._queries, self._targets, self._encode = queries, targets, encode
        self._margin = np.float32(margin)
        rows = np.array(list(pairs.living()), dtype=np.int64)
        positives = np.array(pairs.positive, dtype=np.int64)
        encode(queries, np.unique(self._query[rows]).tolist())
        self.positives = np.full(len(pairs), np.nan, dtype=np.float32)
        self.positives[rows] = self._scores(rows, positives[rows])
        groups = np.array(pairs.query_group, dtype=np.int64)
        lowest = np.full(groups.max(initial=-1) + 1, np.inf, dtype=np.float32)
        np.fmin.at(lowest, groups[rows], self.positives[rows])
        lowest[np.isinf(lowest)] = np.nan  # no positive could be scored: nothing may stay
        self._limit = (lowest - np.abs(lowest) * self._margin)[groups]

    def judge(self, rows: Ints, units: Ints) -> tuple[Floats, NDArray[np.bool_]]:
        """For pairs (n,) and the contents offered to them (n,): scores, NaN for none, and who may stay."""
        scores = self._scores(rows, units)
        return scores, scores <= self._limit[rows]

    def _scores(self, rows: Ints, units: Ints) -> Floats:
        self._encode(self._targets, np.unique(units).tolist())
        left, right = _at(self._queries, self._query[rows]), _at(self._targets, units)
        scores = np.full(len(rows), np.nan, dtype=np.float32)
        there = np.flatnonzero((left >= 0) & (right >= 0))
        matrix = self._queries.vectors.matrix()
        for low in range(0, len(there), QUERY_ROWS):
            some = there[low : low + QUERY_ROWS]
            scores[some] = dots(Rows(matrix, left).take(some), Rows(matrix, right).take(some))
        return scores


def _at(side: Side, units: Ints) -> Ints:
    """The row of each unit's vector, -1 for none."""
    rows = side.rows
    return np.fromiter((rows[unit] for unit in units.tolist()), np.int64, len(units))
