"""The k nearest targets of each query, exact, in bounded memory: the one search of mining and scoring.

A block of queries meets a block of targets in one float32 matrix product, whose rounding depends on how the
blocks are cut and on the device. So every target within twice the rounding bound of the k-th is held, its
score is summed again in float64 and rounded to float32 once, and only then ranked: the result is that of a
float64 computation over everything, whatever the blocks. Of equal scores the lower row of the targets comes
first, or what `ties` says.

    Q queries of a block, T targets of a block, N targets in all, D dimension, C held candidates
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.nearest import threads
from vlm2vec_cli.nearest.product import Floats, Ints, OnProcessor, Product

__all__ = [
    "QUERY_ROWS", "Floats", "Found", "Ints", "MakeProduct", "OnProcessor", "Product", "Rows", "Vectors",
    "dots", "nothing", "parallel_top_k", "query_rows", "top_k", "unit_rows",
]  # fmt: skip

QUERY_ROWS = 4096
PART_ROWS = 512
HELD = 1 << 20  # candidates wanted for one block of queries
SUMMED_BYTES = 1 << 20  # fits the second cache

MakeProduct = Callable[[Floats], Product]
Ties = Callable[[Ints, Ints], tuple[NDArray[Any], ...]]
"""Sort keys (C,) of equal scores, the last one first, from rows of queries and targets (C,)."""


class Vectors(Protocol):
    """Float32 vectors (M, D) of which blocks are taken: an array, or rows that are decoded block by block."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, D)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Floats:
        """The rows at a slice, or at an array of numbers of any shape."""
        ...


@dataclass(frozen=True)
class Rows:
    """Rows of a matrix that may lie on disk: row i is `matrix[index[i]]`, without an index `matrix[i]`.

    `longest` is the length of the longest row, or more.
    """

    matrix: Vectors
    index: Ints | None = None
    longest: float = 1.0

    def __len__(self) -> int:
        return len(self.matrix if self.index is None else self.index)

    def block(self, low: int, high: int) -> Floats:
        """Rows low..high (high - low, D)."""
        return np.asarray(self.matrix[slice(low, high) if self.index is None else self.index[low:high]])

    def take(self, rows: Ints) -> Floats:
        """The named rows (len(rows), D)."""
        return np.asarray(self.matrix[rows if self.index is None else self.index[rows]])


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


def top_k(
    queries: Floats,
    targets: Rows,
    k: int,
    *,
    block: int | None = None,
    product: MakeProduct = OnProcessor,
    ties: Ties | None = None,
) -> Found:
    """The k best of `targets` (or all, if they are fewer) for each row of `queries` (Q, D)."""
    wanted = min(k, len(targets))
    if not wanted or not len(queries):
        return nothing(len(queries), wanted)
    held = _Held(queries, wanted, targets, product(queries), ties or _lower_first)
    block = block or held.product.block_rows
    low = 0
    while low < len(targets):
        # A short first block gives every query a threshold early.
        high = min(len(targets), low + (block if low else min(block, max(1024, 4 * wanted))))
        held.meet(targets.block(low, high), low)
        low = high
    return held.best()


def parallel_top_k(queries: Floats, targets: Rows, k: int, *, ties: Ties | None = None) -> Found:
    """`top_k` of parts of the queries at a time, which changes nothing but the time.

    Each part has a thread and makes its matrix products on it: products on all threads would leave them idle
    while scores are looked through, and parts would wait for each other's.
    """
    num_parts = max(1, min(threads.most(), len(queries) // PART_ROWS))
    starts = np.linspace(0, len(queries), num_parts + 1, dtype=np.int64)

    def part(low: int, high: int) -> Found:
        def own(rows: Ints, columns: Ints) -> tuple[NDArray[Any], ...]:
            return (ties or _lower_first)(rows + low, columns)

        return top_k(queries[low:high], targets, k, ties=own)

    with threads.one_each(num_parts), ThreadPoolExecutor(num_parts) as pool:
        parts = list(pool.map(part, starts[:-1].tolist(), starts[1:].tolist()))
    return Found(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("scores", "targets")))


class _Held:
    """The candidates of one block of queries: flat arrays (C,) of query row, target, and rounded score."""

    def __init__(self, queries: Floats, wanted: int, targets: Rows, product: Product, ties: Ties) -> None:
        self.queries, self.wanted, self.targets = queries, wanted, targets
        self.product, self.ties = product, ties
        # A float32 dot product, in any order of summation, is off by less than this.
        lengths = np.sqrt(np.einsum("qd,qd->q", queries, queries, dtype=np.float64))
        self.slack = ((queries.shape[1] + 4) * 2.0**-23 * targets.longest * lengths).astype(np.float32)
        self.floor = np.full(len(queries), -np.inf, dtype=np.float32)
        self.parts: list[tuple[Ints, Ints, Floats]] = []
        self.count = 0

    @property
    def crowded(self) -> bool:
        return self.count > 2 * self.wanted * len(self.queries)

    def meet(self, block_TD: Floats, first: int) -> None:
        """Holds whatever of one block of targets may still be among the best."""
        self.product.meet(block_TD)
        if not first and len(block_TD) > self.wanted:
            self.floor = self.product.kth(self.wanted) - 2 * self.slack
        step = max(1, self.product.looked_at // len(block_TD))
        for low in range(0, len(self.queries), step):
            high = min(low + step, len(self.queries))
            rows, columns, scores = self.product.at_least(low, high, self.floor[low:high])
            self.parts.append((rows, columns + first, scores))
            self.count += len(rows)
            if self.crowded:
                self._shrink()

    def _shrink(self) -> None:
        rows, targets, scores = self._joined()
        rank = np.argsort(best_first(rows, scores))
        rows, targets, scores = rows[rank], targets[rank], scores[rank]
        kth = np.flatnonzero(places(rows) == self.wanted - 1)
        self.floor[rows[kth]] = np.maximum(self.floor[rows[kth]], scores[kth] - 2 * self.slack[rows[kth]])
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
        rank = np.lexsort((*self.ties(rows, targets), -exact, rows))
        return rows, targets, exact, rank[places(rows[rank]) < self.wanted]

    def best(self) -> Found:
        """The exact ranking of what is held; every query has `wanted` of them by now."""
        self._shrink()
        _, targets, exact, rank = self._ranked()
        shape = (len(self.queries), self.wanted)
        return Found(exact[rank].reshape(shape), targets[rank].reshape(shape))


def best_first(rows: Ints, scores: Floats) -> Ints:
    """One integer an entry that sorts by row, then by falling score."""
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 makes one zero of two
    rising = np.where(bits < 0, -(2**31) - bits, bits)
    keys: Ints = (rows << 33) - rising
    return keys


def _lower_first(rows: Ints, targets: Ints) -> tuple[NDArray[Any], ...]:
    return (targets,)


def places(rows: Ints) -> Ints:
    """Each entry's place, from 0, within the run of equal values it stands in.

    >>> places(np.array([3, 3, 3, 7, 7])).tolist()
    [0, 1, 2, 0, 1]
    """
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    return np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
