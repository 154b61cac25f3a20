"""Float vectors beside the rows that are searched, for putting their first candidates in order again.

They are matched by dataset, role and id, so their files may hold the rows in any order, and more of them.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.nearest import Floats, Ints
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.scoring.dataset import Dataset, named
from vlm2vec_cli.scoring.matrix import STORED, Budget, Matrix, Rows, Similarity
from vlm2vec_cli.streams.batches import Batch

NAMED_BY = ("dataset", "role", "id", "model", "fingerprint")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows in another order: row i is `rows[at[i]]`."""

    rows: Rows
    at: Ints

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and dimensions."""
        return len(self.at), self.rows.dim

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, index: Any) -> Floats:
        return self.rows[self.at[index]]


class Wholes:
    """The float vectors of one dataset: query i and candidate row i are those of the dataset."""

    def __init__(self, dataset: Dataset, budget: Budget, similarity: Similarity) -> None:
        self._dataset = dataset
        self._matrix = {role: Matrix(budget, similarity) for role in ("query", "candidate")}
        self._at = {
            "query": np.full(len(dataset.query_ids), -1, np.int64),
            "candidate": np.full(len(dataset.candidate_rows), -1, np.int64),
        }
        self._made_by: tuple[str, str] | None = None

    def add(self, row: Row, embedding: NDArray[np.generic], *, allow_mixed: bool) -> bool:
        """Takes a row's vector (D,); False where the dataset has no such row. DataError without a place."""
        role, place = row["role"], self._place(row)
        if place is None:
            return False
        if embedding.dtype.name in STORED:
            raise DataError(f"embedding is {STORED[embedding.dtype.name]}, --rescore takes float vectors")
        if not allow_mixed:
            self._check_maker(row)
        if self._at[role][place] >= 0:
            raise DataError(f"id {row['id']!r} has a float vector already")
        self._matrix[role].append(embedding[None])
        self._at[role][place] = self._matrix[role].num_rows - 1
        return True

    def sides(self) -> tuple[Taken, Taken]:
        """Queries and candidates."""
        query, candidate = (Taken(self._matrix[role].rows(), self._at[role]) for role in self._at)
        return query, candidate

    def check(self, place: str) -> None:
        """DataError unless every row of the dataset has its vector, of one dimension on both sides."""
        for role, names in (("query", self._dataset.query_names), ("candidate", self._candidates())):
            missing = [names[at] for at in np.flatnonzero(self._at[role] < 0)]
            if missing:
                raise self._dataset.error(
                    f"--rescore: no float vector for {named(role, missing)}", place=place
                )
        query, candidate = self._matrix["query"].dim, self._matrix["candidate"].dim
        if query != candidate:
            raise self._dataset.error(
                f"--rescore: queries have {query} dimensions, candidates {candidate}", place=place
            )

    def close(self) -> None:
        """Frees memory or files; what `sides` gave must not be in use any more."""
        for matrix in self._matrix.values():
            matrix.close()

    def _place(self, row: Mapping[str, Any]) -> int | None:
        if row["role"] == "query":
            return self._dataset.query_ids.get(row["id"])
        return self._dataset.candidate_rows.get(self._dataset.number.get(row["id"], -1))

    def _candidates(self) -> list[str]:
        return [self._dataset.ids[number] for number in self._dataset.candidate_rows]

    def _check_maker(self, row: Mapping[str, Any]) -> None:
        """One fingerprint, and the model of the vectors that are searched; their precision may differ."""
        made_by = str(row.get("model") or ""), str(row.get("fingerprint") or "")
        self._made_by = self._made_by or made_by
        hint = "embed both with the same model, or --allow-mixed-fingerprints"
        if made_by != self._made_by:
            raise DataError("--rescore: fingerprint differs from that of the rows before", hint=hint)
        known = self._dataset.models
        if made_by[0] and known and made_by[0] not in known:
            raise DataError(f"--rescore: model {made_by[0]} differs from {known[0]} of the input", hint=hint)


def collected(
    batches: Iterable[Batch],
    datasets: Iterable[Dataset],
    reject: Callable[[UserError], None],
    *,
    budget: Budget,
    similarity: Similarity,
    allow_mixed: bool,
    place: str,
) -> dict[str, Wholes]:
    """The float vectors of every dataset; DataError where one has none for some of its rows."""
    wholes = {one.name: Wholes(one, budget, similarity) for one in datasets}
    unused = 0
    for batch in batches:
        assert batch.embeddings is not None  # every vector row has one
        for at, (row, embedding) in enumerate(zip(batch.rows(NAMED_BY), batch.embeddings, strict=True)):
            whole = wholes.get(row["dataset"])
            try:
                unused += whole is None or not whole.add(row, embedding, allow_mixed=allow_mixed)
            except DataError as error:
                reject(error.at(batch.place(at)))
    if unused:
        log.warning("--rescore: %d rows of %s are not in the input and are not used", unused, place)
    for whole in wholes.values():
        whole.check(place)
    return wholes
