"""Rows from Parquet, as `parquet_writer` writes them or as somebody else did."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.base import Row
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.streams import columns
from vlm2vec_cli.streams.columns import EXTRA

KEY = b"vlm2vec"
BATCH_ROWS = 256


@contextlib.contextmanager
def seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """`stream` itself, or all of it in a temporary file where it is a pipe: the footer comes last."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(stream, spool, 1 << 20)
        spool.seek(0)
        yield spool


class Reading:
    """An open file: its `vlm2vec` metadata ({} in a file of somebody else's), and its rows."""

    def __init__(self, file: pq.ParquetFile, place: str) -> None:
        stored = (file.schema_arrow.metadata or {}).get(KEY)
        self.metadata: dict[str, Any] = dict(orjson.loads(stored)) if stored else {}
        self._file, self._place = file, place

    def batches(self, num_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All rows by the column, at most `num_rows` at a time; DataError for a damaged file."""
        found = self._file.iter_batches(batch_size=num_rows)
        while True:
            try:
                batch = next(found, None)
            except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
                raise damaged(self._place, error) from error
            if batch is None:
                return
            yield batch

    def rows(self, batch: pa.RecordBatch) -> Iterator[Row]:
        """The rows of a batch; DataError for values that Arrow cannot read."""
        tag = self.metadata.get("schema")
        of_run = {}
        if isinstance(tag, str):
            of_run["schema"] = tag
            if tag.startswith(f"vlm2vec/{VECTOR.name}@"):
                of_run.update(
                    (name, self.metadata[name]) for name in VECTOR.file_fields if name in self.metadata
                )
        names = batch.schema.names
        try:
            decoded = [
                columns.vectors(column) if name == "embedding" else columns.values(name, column)
                for name, column in zip(names, batch.columns, strict=True)
            ]
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise damaged(self._place, error) from error
        for cells in zip(*decoded, strict=True):
            row = {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None}
            if tag is None:
                yield row
                continue
            extra = row.pop(EXTRA, None)
            if extra is not None:
                row |= _extra(extra, self._place)
            yield of_run | row


@contextlib.contextmanager
def opened(stream: BinaryIO, place: str) -> Iterator[Reading]:
    """A file to read from; DataError for a damaged one."""
    with seekable(stream) as source:
        try:
            file = pq.ParquetFile(source, pre_buffer=False)
            reading = Reading(file, place)
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:
            # ValueError: names that are no UTF-8, metadata that is no JSON object
            raise damaged(place, error) from error
        with file:
            yield reading


def damaged(place: str, error: Exception) -> DataError:
    """The error of a file that Arrow cannot read."""
    return DataError(
        f"not a readable Parquet file: {(str(error).splitlines() or [type(error).__name__])[0]}", place=place
    )


def _extra(text: Any, place: str) -> Row:
    """What of a row had no column."""
    try:
        return dict(orjson.loads(text))
    except (ValueError, TypeError) as error:
        raise DataError(f"the column {EXTRA} does not hold JSON objects", place=place) from error
