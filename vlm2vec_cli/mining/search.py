"""Where a pair's nearest targets come from: a search among vectors, a table of labels, or nowhere."""

from functools import partial
from typing import Any, Protocol

import numpy as np

from vlm2vec_cli.errors import UnavailableError
from vlm2vec_cli.mining.pairs import Pairs
from vlm2vec_cli.mining.pool import Pool
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.nearest import (
    QUERY_ROWS,
    Floats,
    Found,
    Ints,
    MakeProduct,
    OnProcessor,
    Rows,
    dots,
    nothing,
    parallel_top_k,
    top_k,
)

ADDED_ROWS = 65536
WORTH_LOOKING = 10**12  # multiplications of a search from which on --device auto looks for an accelerator


class Search(Protocol):
    """The nearest targets of the pairs of one pool; `rows` are numbers of pairs.

    Without `has_scores` what `nearest` gives is in order, and its scores mean nothing.
    """

    has_scores: bool

    def nearest(self, rows: Ints, k: int) -> Found:
        """Up to `k` targets a pair."""

    def positive(self, rows: Ints) -> Floats:
        """The score of each pair's own positive, NaN where there are no scores."""

    def scores(self, row: int, targets: Ints) -> Floats | None:
        """The scores of any targets (n,) for one pair; None where there are none."""


class Nowhere:
    """No search: everything is drawn at random."""

    has_scores = False

    def nearest(self, rows: Ints, k: int) -> Found:
        """Nothing."""
        return nothing(len(rows))

    def positive(self, rows: Ints) -> Floats:
        """No scores."""
        return np.full(len(rows), np.nan, dtype=np.float32)

    def scores(self, row: int, targets: Ints) -> Floats | None:
        """No scores."""
        return None


class Among:
    """Cosines of queries and targets; `queries` and `targets` are the rows of `matrix` by unit."""

    has_scores = True

    def __init__(
        self, pairs: Pairs, pool: Pool, matrix: Floats, queries: Ints, targets: Ints, settings: Settings
    ) -> None:
        index = targets[pool.units]
        self._targets = Rows(matrix, index)
        # Searched as they lie on disk, read from front to back; ties are settled by place in the pool.
        self._places = np.argsort(index)
        first, last = (int(index[self._places[at]]) for at in (0, -1)) if len(index) else (0, -1)
        is_whole = last - first + 1 == len(index)
        self._searched = Rows(matrix[first : last + 1]) if is_whole else Rows(matrix, index[self._places])
        self._queries = Rows(matrix, queries[np.array(pairs.query, dtype=np.int64)])
        self._positives = Rows(matrix, targets[np.array(pairs.positive, dtype=np.int64)])
        self._index = Faiss(self._targets) if settings.backend == "faiss" else None
        self._product = product_on(settings.device, len(pool.rows) * matrix.shape[1] * len(pool))

    def nearest(self, rows: Ints, k: int) -> Found:
        """The nearest, exactly ranked."""
        queries = self._queries.take(rows)
        if self._index is not None:
            return self._index.top_k(queries, k)
        if self._product is OnProcessor:
            found = parallel_top_k(queries, self._searched, k, ties=self._ties)
        else:
            found = top_k(queries, self._searched, k, ties=self._ties, product=self._product)
        return Found(found.scores, self._places[found.targets])

    def _ties(self, rows: Ints, targets: Ints) -> tuple[Ints]:
        return (self._places[targets],)

    def positive(self, rows: Ints) -> Floats:
        """Cosine of query and positive."""
        found = np.empty(len(rows), dtype=np.float32)
        for low in range(0, len(rows), QUERY_ROWS):
            some = rows[low : low + QUERY_ROWS]
            found[low : low + QUERY_ROWS] = dots(self._queries.take(some), self._positives.take(some))
        return found

    def scores(self, row: int, targets: Ints) -> Floats | None:
        """Cosine of the query and each target."""
        query = self._queries.take(np.array([row]))
        return dots(np.repeat(query, len(targets), axis=0), self._targets.take(targets))


class Faiss:
    """A flat inner product index. What it finds is ranked as `topk` ranks; ties at the end are its own."""

    def __init__(self, targets: Rows) -> None:
        faiss = faiss_module()
        self._targets = targets
        self._index = faiss.IndexFlatIP(max(1, targets.matrix.shape[1]))
        for low in range(0, len(targets), ADDED_ROWS):
            self._index.add(np.ascontiguousarray(targets.block(low, low + ADDED_ROWS)))

    def top_k(self, queries: Floats, k: int) -> Found:
        """The k nearest of each query (Q, D)."""
        wanted = min(k, len(self._targets))
        if not wanted:
            return nothing(len(queries))
        targets = self._index.search(np.ascontiguousarray(queries), wanted)[1].astype(np.int64)
        flat = targets.ravel()
        scores = dots(np.repeat(queries, wanted, axis=0), self._targets.take(flat)).reshape(targets.shape)
        order = np.lexsort((targets, -scores), axis=1)
        return Found(np.take_along_axis(scores, order, axis=1), np.take_along_axis(targets, order, axis=1))


def product_on(device: str, size: int) -> MakeProduct:
    """What multiplies on the device of this name, for a search of `size` multiplications.

    UsageError for a device that there is not.
    """
    if device == "cpu" or (device == "auto" and size < WORTH_LOOKING):
        return OnProcessor
    from vlm2vec_cli.encoder import pick_device  # torch loads here
    from vlm2vec_cli.nearest.device import OnDevice

    place = pick_device(device)
    return OnProcessor if place.type == "cpu" else partial(OnDevice, device=place)


def faiss_module() -> Any:
    """The optional library; UnavailableError where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise UnavailableError(
            "--backend faiss: faiss is not installed",
            hint="pip install 'vlm2vec-cli[faiss]', or --backend exact",
        ) from error
    return faiss
