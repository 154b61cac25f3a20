"""The k nearest targets of each query, exact, in bounded memory.

Scores are dot products of unit vectors. A block of queries meets a block of targets in one float32 matrix
product, whose rounding depends on how the blocks are cut. So every target within twice the rounding bound of
the k-th is held, its score is summed again in float64 and rounded to float32 once, and only then ranked:
the result is that of a float64 computation over everything, whatever the blocks. Of equal scores the lower
row of the targets comes first.

    Q queries of a block, T targets of a block, N targets in all, D dimension, C held candidates
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

QUERY_ROWS = 4096
PART_ROWS = 512
TARGET_ROWS = 4096
HELD = 1 << 20  # candidates wanted for one block of queries
LOOKED_AT = 1 << 20  # scores looked at in one go
GROUP = 128  # columns of the score matrix that share one look at their maximum
SUMMED_BYTES = 1 << 20  # fits the second cache


@dataclass(frozen=True)
class Rows:
    """Some rows of a matrix of unit vectors (M, D) that may lie on disk: row i is `matrix[index[i]]`."""

    matrix: Floats
    index: Ints

    def __len__(self) -> int:
        return len(self.index)

    def block(self, low: int, high: int) -> Floats:
        """Rows low..high (high - low, D)."""
        return np.asarray(self.matrix[self.index[low:high]])

    def take(self, rows: Ints) -> Floats:
        """The named rows (len(rows), D)."""
        return np.asarray(self.matrix[self.index[rows]])


@dataclass(frozen=True)
class Found:
    """Best first, a row a query: `scores` and `targets`, both (Q, min(k, N)); -1 is no target."""

    scores: Floats
    targets: Ints


def nothing(num_queries: int, columns: int = 0) -> Found:
    """Found without a single target."""
    shape = (num_queries, columns)
    return Found(np.full(shape, -np.inf, dtype=np.float32), np.full(shape, -1, dtype=np.int64))


def unit_rows(vectors: Floats) -> Floats:
    """`vectors` (n, D) scaled to length 1; the caller has refused zeros."""
    wide = vectors.astype(np.float64)
    scaled: Floats = (wide / np.sqrt((wide * wide).sum(axis=1, keepdims=True))).astype(np.float32)
    return scaled


def query_rows(k: int) -> int:
    """How many queries form a block when k targets are wanted for each."""
    return max(1, min(QUERY_ROWS, HELD // max(1, k)))


def dots(left: Floats, right: Floats) -> Floats:
    """Row by row dot products (n,) of two (n, D), summed in float64, rounded to float32 once.

    The order of summation depends on D alone, so equal pairs have equal scores wherever they stand.
    """
    scores = np.empty(len(left), dtype=np.float32)
    step = max(1, SUMMED_BYTES // (8 * left.shape[1]))
    for low in range(0, len(left), step):
        wide = left[low : low + step].astype(np.float64)
        wide *= right[low : low + step]
        scores[low : low + step] = wide.sum(axis=1)
    return scores


def top_k(queries: Floats, targets: Rows, k: int, *, block: int = TARGET_ROWS) -> Found:
    """The k best of `targets` (or all, if they are fewer) for each row of `queries` (Q, D)."""
    wanted = min(k, len(targets))
    if not wanted or not len(queries):
        return nothing(len(queries), wanted)
    held = _Held(queries, wanted, targets)
    low = 0
    while low < len(targets):
        # A short first block gives every query a threshold early.
        high = min(len(targets), low + (block if low else min(block, max(1024, 4 * wanted))))
        held.meet(targets.block(low, high), low)
        low = high
    return held.best()


def parallel_top_k(queries: Floats, targets: Rows, k: int) -> Found:
    """`top_k` of parts of the queries at a time, which changes nothing but the time.

    Matrix products use all processors by themselves; this keeps those busy that wait while one part's scores
    are looked through.
    """
    num_parts = max(1, min(os.cpu_count() or 1, len(queries) // PART_ROWS))
    with ThreadPoolExecutor(num_parts) as pool:
        parts = list(pool.map(lambda part: top_k(part, targets, k), np.array_split(queries, num_parts)))
    return Found(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("scores", "targets")))


class _Held:
    """The candidates of one block of queries: flat arrays (C,) of query row, target, and rounded score."""

    def __init__(self, queries: Floats, wanted: int, targets: Rows) -> None:
        self.queries, self.wanted, self.targets = queries, wanted, targets
        # A float32 dot product of unit vectors, in any order of summation, is off by less than this.
        self.slack = np.float32((queries.shape[1] + 4) * 2.0**-23)
        self.floor = np.full(len(queries), -np.inf, dtype=np.float32)
        self.parts: list[tuple[Ints, Ints, Floats]] = []
        self.count = 0
        self._product = np.empty(0, dtype=np.float32)  # fresh memory for each block costs a tenth of the time

    @property
    def crowded(self) -> bool:
        return self.count > 2 * self.wanted * len(self.queries)

    def meet(self, block_TD: Floats, first: int) -> None:
        """Holds whatever of one block of targets may still be among the best."""
        num_scores = len(self.queries) * len(block_TD)
        if self._product.size < num_scores:
            self._product = np.empty(num_scores, dtype=np.float32)
        scores_QT = self._product[:num_scores].reshape(len(self.queries), len(block_TD))
        np.matmul(self.queries, block_TD.T, out=scores_QT)
        if not first and scores_QT.shape[1] > self.wanted:
            self.floor = np.partition(scores_QT, -self.wanted, axis=1)[:, -self.wanted] - 2 * self.slack
        step = max(1, LOOKED_AT // len(block_TD))
        for low in range(0, len(scores_QT), step):
            rows, columns = at_least(scores_QT[low : low + step], self.floor[low : low + step])
            self.parts.append((rows + low, columns + first, scores_QT[rows + low, columns]))
            self.count += len(rows)
            if self.crowded:
                self._shrink()

    def _shrink(self) -> None:
        rows, targets, scores = self._joined()
        rank = np.argsort(best_first(rows, scores))
        rows, targets, scores = rows[rank], targets[rank], scores[rank]
        kth = np.flatnonzero(places(rows) == self.wanted - 1)
        self.floor[rows[kth]] = np.maximum(self.floor[rows[kth]], scores[kth] - 2 * self.slack)
        keep = scores >= self.floor[rows]
        self._hold(rows[keep], targets[keep], scores[keep])
        if self.crowded:  # masses of near-equal scores: rank exactly now, so that what is held stays bounded
            rows, targets, _, rank = self._ranked()
            self._hold(rows[rank], targets[rank], scores[keep][rank])

    def _hold(self, rows: Ints, targets: Ints, scores: Floats) -> None:
        self.parts, self.count = [(rows, targets, scores)], len(rows)

    def _joined(self) -> tuple[Ints, Ints, Floats]:
        rows, targets, scores = zip(*self.parts, strict=True)
        return np.concatenate(rows), np.concatenate(targets), np.concatenate(scores)

    def _ranked(self) -> tuple[Ints, Ints, Floats, Ints]:
        """All held rows, targets and exact scores, and which of them are the best, in order."""
        rows, targets, _ = self._joined()
        exact = np.empty(len(rows), dtype=np.float32)
        step = max(1, SUMMED_BYTES // (4 * self.queries.shape[1]))
        for low in range(0, len(rows), step):
            some = slice(low, low + step)
            exact[some] = dots(self.queries[rows[some]], self.targets.take(targets[some]))
        rank = np.lexsort((targets, -exact, rows))
        return rows, targets, exact, rank[places(rows[rank]) < self.wanted]

    def best(self) -> Found:
        """The exact ranking of what is held; every query has `wanted` of them by now."""
        self._shrink()
        _, targets, exact, rank = self._ranked()
        shape = (len(self.queries), self.wanted)
        return Found(exact[rank].reshape(shape), targets[rank].reshape(shape))


def at_least(scores_QT: Floats, floor: Floats) -> tuple[Ints, Ints]:
    """Rows and columns of the scores that reach their row's floor; a maximum settles most groups."""
    num_grouped = scores_QT.shape[1] // GROUP * GROUP
    groups = scores_QT[:, :num_grouped].reshape(len(scores_QT), -1, GROUP)
    group_rows, group = np.nonzero(groups.max(axis=2) >= floor[:, None]) if num_grouped else _no_places()
    near, column = np.nonzero(groups[group_rows, group] >= floor[group_rows, None])
    last_rows, last_columns = np.nonzero(scores_QT[:, num_grouped:] >= floor[:, None])
    rows = np.concatenate([group_rows[near], last_rows])
    return rows, np.concatenate([group[near] * GROUP + column, last_columns + num_grouped])


def best_first(rows: Ints, scores: Floats) -> Ints:
    """One integer an entry that sorts by row, then by falling score."""
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 makes one zero of two
    rising = np.where(bits < 0, -(2**31) - bits, bits)
    keys: Ints = (rows << 33) - rising
    return keys


def _no_places() -> tuple[Ints, Ints]:
    return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)


def places(rows: Ints) -> Ints:
    """Each entry's place, from 0, within the run of equal values it stands in.

    >>> places(np.array([3, 3, 3, 7, 7])).tolist()
    [0, 1, 2, 0, 1]
    """
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    return np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
