"""One dataset as it is scored: ids, vectors, judgements and pools, and whether they go together.

Candidate ids are numbers, in pools and judgements too, so that a pool of a thousand names takes eight
kilobytes.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.scoring.matrix import Matrix

Ints = NDArray[np.int64]
Qrels = Mapping[str, Mapping[str, float]]

FACTS: Final = ("modality", "task_type", "group", "main_metric")
NAMED: Final = 3  # how many of several culprits a message names

log = logging.getLogger(__name__)


@dataclass
class Dataset:
    """Everything known about one dataset; `number` maps a candidate id to its number, `ids` back."""

    name: str
    source: str  # the input where it first appeared
    facts: dict[str, str] = field(default_factory=dict)
    texts: int = 0  # sum of the digests of its texts
    made_by: dict[str, str] = field(default_factory=dict)  # of the first row: model, fingerprint; else ""
    models: list[str] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)

    query_ids: dict[str, int] = field(default_factory=dict)
    query_places: list[str] = field(default_factory=list)
    query_content: list[dict[str, Any]] = field(default_factory=list)
    query_vectors: Matrix | None = None
    images: list[str | None] = field(default_factory=list)  # what a query's `image_id` says
    relevant: list[dict[int, float]] = field(default_factory=list)
    pools: list[Ints | None] = field(default_factory=list)

    number: dict[str, int] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    candidate_rows: dict[int, int] = field(default_factory=dict)  # candidate number -> row of its vector
    candidate_content: dict[int, dict[str, Any]] = field(default_factory=dict)
    candidate_vectors: Matrix | None = None
    novel: set[int] = field(default_factory=set)  # candidates whose row says `novel`

    def number_of(self, candidate: str) -> int:
        """The number of a candidate id, a new one for a new id."""
        number = self.number.setdefault(candidate, len(self.ids))
        if number == len(self.ids):
            self.ids.append(candidate)
        return number

    @property
    def query_names(self) -> list[str]:
        """The ids of the queries, in order; a new list."""
        return list(self.query_ids)

    def row_of(self) -> Ints:
        """The row in `candidate_vectors` of each candidate number, -1 for one without."""
        row_of = np.full(len(self.ids), -1, np.int64)
        row_of[list(self.candidate_rows)] = np.arange(len(self.candidate_rows))
        return row_of

    def error(self, fact: str, *, hint: str | None = None, place: str = "") -> DataError:
        """An error about the whole dataset."""
        return DataError(f"dataset {self.name!r}: {fact}", place=place or self.source, hint=hint)


def check(datasets: Iterable[Dataset]) -> list[Dataset]:
    """The datasets that have queries, each of them with vectors that can be compared and complete."""
    scored = []
    for dataset in datasets:
        queries, candidates = dataset.query_vectors, dataset.candidate_vectors
        if queries is None:
            log.warning("dataset %r has no queries and is not scored", dataset.name)
            continue
        if candidates is None:
            raise dataset.error(
                "no candidate rows", hint="give their vectors as input too, or with --candidates FILE"
            )
        if queries.dim != candidates.dim:
            raise dataset.error(f"queries have {queries.dim} dimensions, candidates {candidates.dim}")
        for side, matrix in (("query", queries), ("candidate", candidates)):
            if matrix.all_equal and matrix.num_rows > 1:
                raise dataset.error(
                    f"all {matrix.num_rows} {side} vectors are equal",
                    hint="the model does not see its input; check checkpoint and adapter",
                )
        _check_complete(dataset)
        scored.append(dataset)
    return scored


def _check_complete(dataset: Dataset) -> None:
    """Every candidate that a pool or a judgement names has a vector."""
    row_of = dataset.row_of()
    missing: dict[int, int] = {}
    for query, (pool, gains) in enumerate(zip(dataset.pools, dataset.relevant, strict=True)):
        for named_here in (np.fromiter(gains, np.int64, len(gains)), pool):
            if named_here is not None:
                for number in named_here[row_of[named_here] < 0].tolist():
                    missing.setdefault(number, query)
    if missing:
        raise dataset.error(
            f"no vector for {named('candidate', [dataset.ids[number] for number in missing])}",
            place=dataset.query_places[next(iter(missing.values()))],
            hint="pools and relevant may name only candidates of the same dataset",
        )


def judge_by(dataset: Dataset, qrels: Qrels) -> None:
    """Puts the judgements of `qrels` in the place of those of the rows."""
    for query, position in dataset.query_ids.items():
        dataset.relevant[position] = numbered(dataset, qrels.get(query, {}))
    strangers = [query for query in qrels if query not in dataset.query_ids]
    if strangers:
        log.warning("judgements of %s are not used: not in the input", named("query", strangers))


def numbered(dataset: Dataset, gains: Mapping[str, float]) -> dict[int, float]:
    """Gains by candidate number."""
    return {dataset.number_of(candidate): gain for candidate, gain in gains.items()}


def named(noun: str, ids: list[str]) -> str:
    """Such as "candidate 'a'" or "5 candidates: 'a', 'b', 'c' and 2 more"."""
    if len(ids) == 1:
        return f"{noun} {ids[0]!r}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{len(ids)} {plural}: {', '.join(repr(one) for one in ids[:NAMED])}{more}"
