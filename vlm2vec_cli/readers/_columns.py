"""Raw rows by the column, for sets so long that a dictionary a row would be most of the work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers._raw import Raw
from vlm2vec_cli.readers._rows import parquet_batches, place_of, rows

BATCH_ROWS = 4096


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a file. `columns` holds a list a column; `indexes` count from 0 in the file.

    A value is a string or None; in a column of `lists` it may be a list of strings and Nones.
    """

    path: Path
    indexes: Sequence[int]
    columns: dict[str, list[Any]]

    def place(self, index: int) -> str:
        """Such as "Data/test.parquet row 3"."""
        return place_of(self.path, index)


def batches(
    path: Path, required: Sequence[str], raw: Raw, optional: Sequence[str] = (), lists: Sequence[str] = ()
) -> Iterator[Batch]:
    """The rows of a file, a batch at a time; an optional column that it lacks holds Nones.

    Raises DataError for a damaged file and, in Parquet, for a column that holds something else than texts;
    a line of JSON with such a value goes to `raw.reject`.
    """
    every = (*required, *optional)
    if path.suffix == ".parquet":
        for start, batch in parquet_batches(path, required, optional, BATCH_ROWS):
            found = {name: _texts(path, name, batch, lists) for name in batch.schema.names}
            absent = [None] * batch.num_rows
            columns = {name: found.get(name, absent) for name in every}
            yield Batch(path, range(start, start + batch.num_rows), columns)
        return
    indexes: list[int] = []
    lines: list[list[Any]] = []
    for row in rows([path], required, raw):
        values = [row.values.get(name) for name in every]
        wrong = next(
            (name for name, one in zip(every, values, strict=True) if not _fits(one, name in lists)), None
        )
        if wrong is not None:
            fact = f"{wrong}: expected a string, got {type(row.values[wrong]).__name__}"
            raw.reject(DataError(fact, place=row.place))
            continue
        indexes.append(row.index)
        lines.append(values)
        if len(lines) == BATCH_ROWS:
            yield _turned(path, indexes, every, lines)
            indexes, lines = [], []
    if lines:
        yield _turned(path, indexes, every, lines)


def _turned(path: Path, indexes: list[int], names: Sequence[str], lines: list[list[Any]]) -> Batch:
    return Batch(path, indexes, dict(zip(names, map(list, zip(*lines, strict=True)), strict=True)))


def _texts(path: Path, name: str, batch: pa.RecordBatch, lists: Sequence[str]) -> list[Any]:
    kind = batch.schema.field(name).type
    inner = kind.value_type if name in lists and _is_list(kind) else kind
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_null(inner)):
        raise DataError(f"{name}: expected a string, got {kind}", place=str(path))
    found: list[Any] = batch.column(name).to_pylist()
    return found


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _fits(value: Any, may_be_list: bool) -> bool:
    if isinstance(value, list):
        return may_be_list and all(one is None or isinstance(one, str) for one in value)
    return value is None or isinstance(value, str)
