"""Rows of vectors side by side: what a `Record` is for one row, for many of one file.

The embeddings are one array and the fields are asked for by the column, so a row costs no dictionary. Parquet
gives batches as they lie in the file (see `vector_columns`), all else gives them as rows put together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas import checks
from vlm2vec_cli.schemas.base import Origin, Record, Row
from vlm2vec_cli.schemas.item import ITEM

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 256
"""How many rows of JSON lines are put together at most."""


class Batch:
    """Checked rows of one origin, N at least 1; `numbers` are their places in the file, from 1.

    `embeddings` (N, D) is float32, int8 or uint8, read-only perhaps; None where the rows have none.
    """

    def __init__(
        self,
        origin: Origin,
        numbers: Sequence[int],
        embeddings: NDArray[Any] | None,
        column: Callable[[str], Sequence[Any]],
        row: Callable[[int], Row],
    ) -> None:
        self.origin, self.numbers, self.embeddings = origin, numbers, embeddings
        self._column, self._row = column, row
        self._known: dict[str, Sequence[Any]] = {}

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, name: str) -> Sequence[Any]:
        """The field `name` of every row, None where it is absent; not to be changed."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._column(name)
        return found

    def rows(self, names: Iterable[str]) -> Iterator[Row]:
        """Of every row the fields in `names` that it has; new dictionaries."""
        columns = {name: self.column(name) for name in names}
        present = {name: found for name, found in columns.items() if any(one is not None for one in found)}
        if not present:
            yield from ({} for _ in self.numbers)
        for values in zip(*present.values(), strict=True):
            yield {name: one for name, one in zip(present, values, strict=True) if one is not None}

    def row(self, at: int) -> Row:
        """Everything of one row."""
        return self._row(at)

    def place(self, at: int) -> str:
        """Such as "vectors.parquet row 3"."""
        return f"{self.origin.name} {self.origin.unit} {self.numbers[at]}"

    def part(self, start: int, stop: int) -> Batch:
        """The rows from `start` to `stop`, which share the columns of this batch."""
        if start == 0 and stop >= len(self):
            return self
        return Batch(
            self.origin,
            self.numbers[start:stop],
            None if self.embeddings is None else self.embeddings[start:stop],
            lambda name: self.column(name)[start:stop],
            lambda at: self._row(start + at),
        )

    def singles(self) -> Iterator[Batch]:
        """Each row as a batch of its own."""
        return (self.part(at, at + 1) for at in range(len(self)))


class Gathering:
    """Puts records together while they fit: one origin, one shape and type of embedding, at most `ROWS`."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._key: tuple[Any, ...] = ()

    def add(self, record: Record) -> Iterator[Batch]:
        """Takes a record; the batch that it ends, if it ends one. DataError for an item's wrong embedding."""
        embedding = record.row.get("embedding")
        if embedding is not None and record.row.get("schema") == ITEM.tag:  # to an item just a field
            try:
                embedding = record.row["embedding"] = checks.embedding(embedding)
            except DataError as error:
                raise DataError(f"embedding: {error.fact}") from None
        shape = () if embedding is None else (embedding.shape, embedding.dtype)
        key = (record.origin.name, record.origin.unit, *shape)
        if key != self._key or len(self._records) >= ROWS:
            yield from self.rest()
            self._key = key
        self._records.append(record)

    def rest(self) -> Iterator[Batch]:
        """The batch of what is left, if anything is."""
        if self._records:
            records, self._records = self._records, []
            yield _of(records)


def gathered(records: Iterable[Record]) -> Iterator[Batch]:
    """The records in batches, in order; their embeddings, where they have one, are 1-D numpy arrays."""
    gathering = Gathering()
    for record in records:
        yield from gathering.add(record)
    yield from gathering.rest()


def _of(records: list[Record]) -> Batch:
    embeddings = None
    if "embedding" in records[0].row:
        import numpy as np  # only whoever reads vectors pays for it

        embeddings = np.stack([one.row["embedding"] for one in records])
    return Batch(
        records[0].origin,
        [one.number for one in records],
        embeddings,
        lambda name: [one.row.get(name) for one in records],
        lambda at: records[at].row,
    )
