"""Rows -> datasets, in the order in which they first appear; candidate ids become numbers as they are met."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.scoring import digests
from vlm2vec_cli.scoring.dataset import FACTS, Dataset, numbered
from vlm2vec_cli.scoring.matrix import Budget, Matrix, Similarity
from vlm2vec_cli.streams.batches import Batch

Reject = Callable[[UserError], None]

MAKER: Final = ("model", "fingerprint")
CONTENT: Final = ("text", "image", "video", "instruction")


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


def _contents(rows: Batch) -> Iterator[dict[str, Any]]:
    """The content fields as the per-query file holds them."""
    root = str(rows.origin.media_root)
    for content in rows.rows(CONTENT):
        for name in ("image", "video"):
            if isinstance(content.get(name), str):
                content[name] = [content[name]]
        content["media_root"] = root
        yield content
