"""Float32 scores of a block of queries with one block of targets after the other, and which of them are high.

On a processor with numpy here, on other devices with torch in `device`.

    Q queries of a block, T targets of a block
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

GROUP = 8  # scores that share one look at their maximum


class Product(Protocol):
    """Made of queries (Q, D). It takes up to `block_rows` targets at once and looks at `looked_at` scores."""

    block_rows: int
    looked_at: int

    def meet(self, targets_TD: Floats) -> None:
        """Makes the scores of this block, which the other two are about."""

    def kth(self, k: int) -> Floats:
        """The k-th largest score of each query (Q,)."""

    def at_least(self, low: int, high: int, floor: Floats) -> tuple[Ints, Ints, Floats]:
        """Of queries low..high the scores that reach `floor` (high - low,): query, target, score."""


class OnProcessor:
    """With numpy, in memory that stays the same from block to block."""

    block_rows = 4096
    looked_at = 1 << 20

    def __init__(self, queries: Floats) -> None:
        self._queries = queries
        self._memory = np.empty(0, dtype=np.float32)  # fresh memory for each block costs a tenth of the time
        self._scores_QT: Floats = self._memory

    def meet(self, targets_TD: Floats) -> None:
        """One matrix product."""
        shape = len(self._queries), len(targets_TD)
        num_scores = shape[0] * shape[1]
        if self._memory.size < num_scores:
            self._memory = np.empty(num_scores, dtype=np.float32)
        self._scores_QT = self._memory[:num_scores].reshape(shape)
        np.matmul(self._queries, targets_TD.T, out=self._scores_QT)

    def kth(self, k: int) -> Floats:
        """By partial sorting."""
        found: Floats = np.partition(self._scores_QT, -k, axis=1)[:, -k]
        return found

    def at_least(self, low: int, high: int, floor: Floats) -> tuple[Ints, Ints, Floats]:
        """The maximum settles most groups; a group's scores stand apart, so that maxima are of whole rows."""
        scores_QT = self._scores_QT[low:high]
        num_targets = scores_QT.shape[1]
        num_groups = num_targets // GROUP
        grouped = scores_QT[:, : num_groups * GROUP].reshape(len(scores_QT), GROUP, num_groups)
        high_groups = grouped.max(axis=1) >= floor[:, None]
        rows, columns = np.divmod(np.flatnonzero(high_groups), max(1, num_groups))
        places = (rows * num_targets + columns)[:, None] + np.arange(GROUP) * num_groups
        near = places[scores_QT.ravel()[places] >= floor[rows, None]]
        rest = np.flatnonzero(scores_QT[:, num_groups * GROUP :] >= floor[:, None])
        last_rows, last_columns = np.divmod(rest, max(1, num_targets - num_groups * GROUP))
        near = np.concatenate([near, last_rows * num_targets + last_columns + num_groups * GROUP])
        rows, columns = np.divmod(near, num_targets)
        return rows + low, columns, scores_QT.ravel()[near]
