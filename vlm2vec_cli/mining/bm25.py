"""Nearest by words: BM25 of queries' and targets' texts, ranked exactly, ties by the lower target.

Robertson & Zaragoza 2009 in Lucene's form, k1 1.5 and b 0.75, as the library bm25s computes it. Words are
runs of letters and digits, without regard to case. What shares no word with a query is not near it.
"""

import re
from typing import Any

import numpy as np

from vlm2vec_cli.errors import DataError, UnavailableError
from vlm2vec_cli.mining.identity import normal_text
from vlm2vec_cli.mining.pairs import Pairs
from vlm2vec_cli.mining.pool import Pool
from vlm2vec_cli.mining.stock import Units
from vlm2vec_cli.nearest import Floats, Found, Ints, nothing

WORD = re.compile(r"\w+")
PLACEHOLDER = re.compile(r"<(?:image|video)>")


class ByWords:
    """A Search. Positives that are no targets are indexed beside them, so that they have scores."""

    has_scores = True

    def __init__(self, pairs: Pairs, pool: Pool) -> None:
        library = library_module()
        self._pairs, self._num_targets = pairs, len(pool)
        own = {pairs.positive[row] for row in pool.rows.tolist()}
        documents = [*pool.units.tolist(), *sorted(own - set(pool.units.tolist()))]
        self._at = {unit: place for place, unit in enumerate(documents)}
        texts = [words_of(pairs.targets, unit) for unit in documents]
        if not any(texts[: self._num_targets]):
            raise DataError(f"no target of {pool.name} has a text", hint="--method dense compares pictures")
        self._index = library.BM25()
        self._index.index(texts, show_progress=False)
        self._last: tuple[int, Floats] | None = None

    def nearest(self, rows: Ints, k: int) -> Found:
        """The k best of the targets that share a word with the query."""
        found = nothing(len(rows), min(k, self._num_targets))
        for place, row in enumerate(rows.tolist()):
            scores = self._scores(row)[: self._num_targets]
            near = np.flatnonzero(scores > 0)
            if len(near) > k:
                least = np.partition(scores[near], len(near) - k)[len(near) - k]
                near = near[scores[near] >= least]
            best = near[np.lexsort((near, -scores[near]))][:k]
            found.targets[place, : len(best)], found.scores[place, : len(best)] = best, scores[best]
        return found

    def positive(self, rows: Ints) -> Floats:
        """The score of each pair's own positive."""
        own = [self._scores(row)[self._at[self._pairs.positive[row]]] for row in rows.tolist()]
        return np.array(own, dtype=np.float32)

    def scores(self, row: int, targets: Ints) -> Floats | None:
        """The scores of any targets."""
        return self._scores(row)[targets]

    def _scores(self, row: int) -> Floats:
        """Of all documents; those of one query follow each other."""
        unit = self._pairs.query[row]
        if self._last is None or self._last[0] != unit:
            words = words_of(self._pairs.queries, unit)
            known = list(self._index.get_tokens_ids(words)) if words else []
            scores: Floats = np.zeros(len(self._at), dtype=np.float32)
            if known:
                scores = np.asarray(self._index.get_scores_from_ids(known), dtype=np.float32)
            self._last = unit, scores
        return self._last[1]


def words_of(units: Units, unit: int) -> list[str]:
    """The words of a content's text; of a query not those of its instruction, which all queries share."""
    return WORD.findall(PLACEHOLDER.sub(" ", normal_text(units.content(unit).get("text", ""))).casefold())


def library_module() -> Any:
    """The optional library; UnavailableError where it is not installed."""
    try:
        import bm25s
    except ImportError as error:
        raise UnavailableError(
            "--method bm25: bm25s is not installed", hint="pip install 'vlm2vec-cli[bm25]'"
        ) from error
    return bm25s
