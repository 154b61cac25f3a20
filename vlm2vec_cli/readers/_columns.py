"""Raw rows by the column, for sets so long that a dictionary a row would be most of the work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.readers._raw import Raw
from vlm2vec_cli.readers._rows import parquet_batches, place_of, rows

BATCH_ROWS = 32_768
TEXTS = pl.List(pl.String)


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a file: texts by the column, and each row's `index` in the file, from 0.

    A column of lists holds lists of texts in every row, or texts in every row.
    """

    path: Path
    frame: pl.DataFrame

    def place(self, index: int) -> str:
        """Such as "Data/test.parquet row 3"."""
        return place_of(self.path, index)


def batches(
    path: Path, required: Sequence[str], raw: Raw, optional: Sequence[str] = (), lists: Sequence[str] = ()
) -> Iterator[Batch]:
    """The rows of a file, a batch at a time; an optional column that it lacks holds nulls.

    Raises DataError for a damaged file and, in Parquet, for a column that holds something else than texts;
    a line of JSON with such a value goes to `raw.reject`.
    """
    every = (*required, *optional)
    if path.suffix == ".parquet":
        for start, batch in parquet_batches(path, required, optional, BATCH_ROWS):
            frame = pl.DataFrame(pl.from_arrow(batch))
            columns = [_texts(path, frame, name, name in lists) for name in every]
            index = pl.int_range(start, start + len(frame), eager=True).alias("index")
            yield Batch(path, pl.DataFrame([index, *columns]))
        return
    lines: list[dict[str, Any]] = []
    for row in rows([path], required, raw):
        values = {name: row.values.get(name) for name in every}
        wrong = next((name for name, one in values.items() if not _fits(one, name in lists)), None)
        if wrong is not None:
            fact = f"{wrong}: expected a string, got {type(values[wrong]).__name__}"
            raw.reject(DataError(fact, place=row.place))
            continue
        lines.append({"index": row.index, **values})
        if len(lines) == BATCH_ROWS:
            yield _of_lines(path, every, lines)
            lines = []
    if lines:
        yield _of_lines(path, every, lines)


def _of_lines(path: Path, names: Sequence[str], lines: list[dict[str, Any]]) -> Batch:
    columns = [pl.Series("index", [line["index"] for line in lines], pl.Int64)]
    for name in names:
        values = [line[name] for line in lines]
        if any(isinstance(one, list) for one in values):
            values = [one if one is None or isinstance(one, list) else [one] for one in values]
            columns.append(pl.Series(name, values, TEXTS))
        else:
            columns.append(pl.Series(name, values, pl.String))
    return Batch(path, pl.DataFrame(columns))


def _texts(path: Path, frame: pl.DataFrame, name: str, may_be_list: bool) -> pl.Series:
    if name not in frame.columns or frame[name].dtype == pl.Null:
        return nulls(name, len(frame))
    kind = frame[name].dtype
    if kind == pl.String or (may_be_list and kind in (TEXTS, pl.List(pl.Null))):
        return frame[name].cast(TEXTS) if isinstance(kind, pl.List) else frame[name]
    raise DataError(f"{name}: expected a string, got {kind}", place=str(path))


def nulls(name: str, count: int) -> pl.Series:
    """A column of texts that are all absent."""
    return pl.Series(name, [None] * count, pl.String)


def _fits(value: Any, may_be_list: bool) -> bool:
    if isinstance(value, list):
        return may_be_list and all(one is None or isinstance(one, str) for one in value)
    return value is None or isinstance(value, str)
