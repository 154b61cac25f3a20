"""Rows -> datasets: ids, vectors, judgements and pools of each, in the order in which datasets first appear.

Candidate ids become numbers as they are met, in pools and judgements as in candidate rows, so that a pool of
a thousand names takes eight kilobytes.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.scoring import digests
from vlm2vec_cli.scoring.matrix import Budget, Matrix, Similarity
from vlm2vec_cli.streams.batches import Batch

Ints = NDArray[np.int64]
Reject = Callable[[UserError], None]
Qrels = Mapping[str, Mapping[str, float]]

FACTS: Final = ("modality", "task_type", "group", "main_metric")
MAKER: Final = ("model", "fingerprint")
CONTENT: Final = ("text", "image", "video", "instruction")
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


class Collector:
    """Takes rows, batch by batch. `vectors` False takes items, whose embeddings are not looked at."""

    def __init__(
        self,
        reject: Reject,
        *,
        similarity: Similarity = "cosine",
        vectors: bool = True,
        keep_content: bool = False,
        allow_mixed: bool = False,
        budget: Budget | None = None,
    ) -> None:
        self.datasets: dict[str, Dataset] = {}
        self._reject = reject
        self._similarity: Similarity = similarity
        self._vectors = vectors
        self._keep_content = keep_content
        self._allow_mixed = allow_mixed
        self._budget = budget or Budget()

    def add(self, batches: Iterable[Batch], *, role: str | None = None) -> int:
        """Takes all rows, of which bad ones are rejected; `role` overrides that of the rows. Their number."""
        count = 0
        for batch in batches:
            count += len(batch)
            sides = batch.column("role") if role is None else [role] * len(batch)
            start = 0
            for (name, side), rows in groupby(zip(batch.column("dataset"), sides, strict=True)):
                end = start + sum(1 for _ in rows)
                dataset = self.datasets.setdefault(name, Dataset(name, batch.origin.name))
                self._take(dataset, side, batch.part(start, end))
                start = end
        return count

    def _take(self, dataset: Dataset, side: str, rows: Batch) -> None:
        """Rows of one dataset and side. Where anything is wrong with some, each is taken by itself."""
        makers = list(dict.fromkeys(zip(*map(rows.column, MAKER), strict=True))) if self._vectors else []
        if len(makers) < 2 or len(rows) == 1:
            for maker in makers:
                self._check_maker(dataset, maker, rows.place(0))
            try:
                if side == "query":
                    self._add_queries(dataset, rows)
                else:
                    self._add_candidates(dataset, rows)
                dataset.texts += digests.of_texts(side, rows)
                return
            except DataError as error:
                if len(rows) == 1:
                    self._reject(error.at(rows.place(0)))
                    return
        for one in rows.singles():
            self._take(dataset, side, one)

    def _add_queries(self, dataset: Dataset, rows: Batch) -> None:
        """All the rows; DataError, and nothing is added, where one of them is wrong."""
        ids, pools = rows.column("id"), rows.column("pool")
        _check_new("query", ids, (one in dataset.query_ids for one in ids), dataset)
        if any(pool is not None and not pool for pool in pools):
            raise DataError("pool: expected at least one candidate id")
        dataset.query_vectors = self._appended(dataset.query_vectors, rows)
        start = len(dataset.query_ids)
        dataset.query_ids.update(zip(ids, range(start, start + len(ids)), strict=True))
        dataset.query_places.extend(map(rows.place, range(len(rows))))
        dataset.images.extend(None if one is None else str(one) for one in rows.column("image_id"))
        for gains, pool in zip(rows.column("relevant"), pools, strict=True):
            dataset.relevant.append(numbered(dataset, gains or {}))
            dataset.pools.append(
                None if pool is None else np.array([dataset.number_of(one) for one in pool], np.int64)
            )
        for row in rows.rows(name for name in FACTS if name not in dataset.facts):
            for name, value in row.items():
                if value:
                    dataset.facts.setdefault(name, value)
        if self._keep_content:
            dataset.query_content.extend(_contents(rows))

    def _add_candidates(self, dataset: Dataset, rows: Batch) -> None:
        """All the rows; DataError, and nothing is added, where one of them is wrong."""
        ids = rows.column("id")
        number, taken = dataset.number, dataset.candidate_rows
        _check_new("candidate", ids, (number.get(one, -1) in taken for one in ids), dataset)
        dataset.candidate_vectors = self._appended(dataset.candidate_vectors, rows)
        numbers = [dataset.number_of(one) for one in ids]
        start = len(dataset.candidate_rows)
        dataset.candidate_rows.update(zip(numbers, range(start, start + len(ids)), strict=True))
        dataset.novel.update(
            number for number, novel in zip(numbers, rows.column("novel"), strict=True) if novel
        )
        if self._keep_content:
            dataset.candidate_content.update(zip(numbers, _contents(rows), strict=True))

    def _appended(self, matrix: Matrix | None, rows: Batch) -> Matrix | None:
        if not self._vectors or rows.embeddings is None:
            return matrix
        matrix = matrix or Matrix(self._budget, self._similarity)
        matrix.append(rows.embeddings)
        return matrix

    def _check_maker(self, dataset: Dataset, maker: Sequence[Any], place: str) -> None:
        """Vectors compare only where one model made them with the same settings."""
        made_by = {name: str(one or "") for name, one in zip(MAKER, maker, strict=True)}
        for name, known in (("model", dataset.models), ("fingerprint", dataset.fingerprints)):
            if made_by[name] and made_by[name] not in known:
                known.append(made_by[name])
        first = dataset.made_by = dataset.made_by or made_by
        what = "fingerprint" if made_by["fingerprint"] or first["fingerprint"] else "model"
        if made_by[what] != first[what] and not self._allow_mixed:
            raise DataError(
                f"{what} {made_by[what] or 'missing'} differs from {first[what] or 'a missing one'} "
                f"of the rows before in dataset {dataset.name!r}",
                place=place,
                hint="embed both sides with the same model and options, or --allow-mixed-fingerprints",
            )


def _check_new(noun: str, ids: Sequence[str], known: Iterable[bool], dataset: Dataset) -> None:
    """DataError, worded for a row by itself, where an id stands twice or is `known`."""
    if len(set(ids)) < len(ids) or any(known):
        raise DataError(f"id {ids[0]!r} is already that of another {noun} of dataset {dataset.name!r}")


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


def _contents(rows: Batch) -> Iterator[dict[str, Any]]:
    """The content fields as the per-query file holds them."""
    root = str(rows.origin.media_root)
    for content in rows.rows(CONTENT):
        for name in ("image", "video"):
            if isinstance(content.get(name), str):
                content[name] = [content[name]]
        content["media_root"] = root
        yield content
