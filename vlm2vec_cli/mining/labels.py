"""Labels as targets: each label's nearest labels, computed or given, and the file that keeps them.

The file is one JSON object, {label: {"neighbors": [labels, best first], "scores": [cosines]}}, as the
scene-graph workflow around VLM2Vec has it; of a given one only `neighbors` is needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import orjson

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.mining.pairs import Pairs
from vlm2vec_cli.mining.pool import Pool
from vlm2vec_cli.mining.settings import SCORE_LIMITS, TEXT_OF_POSITIVE, Settings
from vlm2vec_cli.nearest import QUERY_ROWS, Floats, Found, Ints, Rows, dots, nothing, top_k
from vlm2vec_cli.streams import read_lines

Neighbors = Mapping[str, list[tuple[str, float | None]]]


class OfLabels:
    """Every pair has the neighbours of its own label: row i of `table` belongs to target i of the pool.

    `vectors` (N, D) where there are some: those of the labels.
    """

    def __init__(
        self, pairs: Pairs, pool: Pool, table: Found, *, has_scores: bool, vectors: Rows | None
    ) -> None:
        self._pairs, self._pool, self._table = pairs, pool, table
        self.has_scores, self._vectors = has_scores, vectors

    def _own(self, rows: Ints) -> Ints:
        return np.array([self._pool.at[self._pairs.positive_group[row]] for row in rows], dtype=np.int64)

    def nearest(self, rows: Ints, k: int) -> Found:
        """The label's neighbours, however many there are."""
        own = self._own(rows)
        return Found(self._table.scores[own], self._table.targets[own])

    def positive(self, rows: Ints) -> Floats:
        """A label is 1 to itself."""
        return np.full(len(rows), 1 if self.has_scores else np.nan, dtype=np.float32)

    def scores(self, row: int, targets: Ints) -> Floats | None:
        """Cosines between the pair's label and others."""
        if self._vectors is None:
            return None
        own = self._vectors.take(self._own(np.array([row])))
        return dots(np.repeat(own, len(targets), axis=0), self._vectors.take(targets))


def nearest_labels(vectors: Rows, k: int) -> Found:
    """The k nearest other labels of each (N, min(k, N - 1)), by cosine; of equal ones the lower first."""
    width = max(0, min(k, len(vectors) - 1))
    parts = [nothing(0, width)]
    for low in range(0, len(vectors) if width else 0, QUERY_ROWS):
        own = np.arange(low, min(len(vectors), low + QUERY_ROWS))
        found = top_k(vectors.take(own), vectors, width + 1)
        other = found.targets != own[:, None]
        other[other.all(axis=1), -1] = False  # so many equals that a label is not among its own nearest
        parts.append(Found(found.scores[other].reshape(-1, width), found.targets[other].reshape(-1, width)))
    scores = np.concatenate([part.scores for part in parts])
    return Found(scores, np.concatenate([part.targets for part in parts]))


def to_json(pairs: Pairs, pool: Pool, table: Found) -> bytes:
    """The file of a pool's neighbours, labels in order."""
    names = [pairs.labels[group] for group in pool.at]
    entries = {
        name: {
            "neighbors": [names[place] for place in places],
            "scores": [round(one, 6) + 0.0 for one in scores],
        }
        for name, places, scores in zip(names, table.targets.tolist(), table.scores.tolist(), strict=True)
    }
    return orjson.dumps(entries, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read(path: str, settings: Settings) -> Neighbors:
    """A file of neighbours; DataError for anything else, and where a limit needs scores that it lacks."""
    text = "\n".join(line for _, line in read_lines(path))
    try:
        entries = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} (line {error.lineno})", place=path) from error
    if not isinstance(entries, dict):
        raise DataError('expected {label: {"neighbors": [...], "scores": [...]}}', place=path)
    limits = [name for name in SCORE_LIMITS if getattr(settings, name) is not None]
    found = {}
    for label, entry in entries.items():
        names = entry.get("neighbors") if isinstance(entry, dict) else None
        scores = entry.get("scores") if isinstance(entry, dict) else None
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            raise DataError(f"{label!r}: expected neighbors, a list of labels", place=path)
        if scores is None and limits:
            raise DataError(f"{label!r}: no scores, which --{limits[0].replace('_', '-')} needs", place=path)
        if scores is not None and not (
            isinstance(scores, list)
            and len(scores) == len(names)
            and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in scores)
        ):
            raise DataError(f"{label!r}: expected scores, a number a neighbor", place=path)
        found[label] = list(zip(names, [None] * len(names) if scores is None else scores, strict=True))
    return found


@dataclass(frozen=True)
class Given:
    """Neighbours of a file as targets of a pool, which grew by the labels that only the file knows.

    `num_unlisted` labels of the pairs are not in the file; `num_unknown` of its neighbours cannot be made
    targets, because only their names are known.
    """

    pool: Pool
    table: Found
    has_scores: bool
    num_unlisted: int
    num_unknown: int


def given(neighbors: Neighbors, pairs: Pairs, pool: Pool, settings: Settings) -> Given:
    """`neighbors` for the labels of `pool`, at most `num_neighbors` each."""
    by_group = {pairs.label_group(label): entries for label, entries in neighbors.items()}
    at, units = dict(pool.at), pool.units.tolist()
    unknown: set[str] = set()
    lists: list[list[tuple[int, float]]] = []
    for group in pool.at:
        lists.append([])
        listed: set[int] = set()
        for name, score in by_group.get(group, ()):
            other = pairs.label_group(name)
            if other not in at and settings.label_field == TEXT_OF_POSITIVE:
                at[other] = len(units)
                units.append(pairs.add_text_target(name))
            if other not in at:
                unknown.add(name)
            elif other != group and len(lists[-1]) < settings.num_neighbors and at[other] not in listed:
                listed.add(at[other])
                lists[-1].append((at[other], 0.0 if score is None else score))
    table = nothing(len(lists), max(map(len, lists), default=0))
    for place, entries in enumerate(lists):
        for column, (target, score) in enumerate(entries):
            table.targets[place, column], table.scores[place, column] = target, score
    has_scores = all(score is not None for entries in by_group.values() for _, score in entries)
    unlisted = sum(group not in by_group for group in pool.at)
    offers = np.concatenate([pool.offers, np.full(len(units) - len(pool), -1, dtype=np.int64)])
    larger = replace(pool, at=at, units=np.array(units, dtype=np.int64), offers=offers)
    return Given(larger, table, has_scores, unlisted, len(unknown))
