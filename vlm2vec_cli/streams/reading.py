"""What a file holds, in stretches: all its JSON lines, or a batch of Arrow's columns after the other."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.base import Kind, Origin, Record, Row, kind_of
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.streams import opening

if TYPE_CHECKING:
    import pyarrow as pa

    from vlm2vec_cli.streams.batches import Batch
    from vlm2vec_cli.streams.parquet import Reading

log = logging.getLogger(__name__)

WIDE = 1024
"""How many rows of vectors are taken by the column at once: 6 MB at 1,536 dimensions."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of one file that lie together; `rows` gives their numbers and, once, the rows.

    A JSON line is still bytes.
    """

    origin: Origin
    rows: Iterable[tuple[int, Row | bytes]]

    def batch(self, kinds: tuple[Kind, ...], default_id: int) -> Batch | None:
        """The rows side by side, where they are vectors of which nothing is to be said; None elsewhere."""
        return None


@dataclass(frozen=True, slots=True)
class Columns(Stretch):
    """Rows of Parquet from number `first` on."""

    found: pa.RecordBatch
    first: int
    reading: Reading

    def batch(self, kinds: tuple[Kind, ...], default_id: int) -> Batch | None:
        """The rows by the column; `default_id` is the number of the first among all rows."""
        tag = self.origin.metadata.get("schema")
        if VECTOR not in kinds or (kinds[0] if tag is None else VECTOR) is not VECTOR:
            return None
        from vlm2vec_cli.streams import vector_columns

        def row(at: int) -> Row:
            (plain,) = self.reading.rows(self.found.slice(at, 1))
            return VECTOR.parse(plain, str(default_id + at))

        return vector_columns.batch(self.found, self.origin, self.first, default_id, row)


def stretches(
    file: str, root: Path, *, wide: bool = False, quiet: bool = False
) -> Generator[Stretch, None, None]:
    """Everything in a file; with `wide` Parquet in batches that are worth taking by the column."""
    name = opening.display(file)
    if file == opening.STDIN and sys.stdin is not None and sys.stdin.isatty() and not quiet:
        log.info("reading rows from the terminal, Ctrl-D ends them")
    with opening.opened(file) as (form, stream):
        if form == "jsonl":
            yield Stretch(Origin(name, root, "line"), opening.lines(stream, name))
            return
        from vlm2vec_cli.streams import parquet

        with parquet.opened(stream, name) as reading:
            origin = Origin(name, root, "row", reading.metadata)
            first = 1
            for found in reading.batches(WIDE if wide else parquet.BATCH_ROWS):
                yield Columns(origin, enumerate(reading.rows(found), start=first), found, first, reading)
                first += len(found)


def parsed(origin: Origin, number: int, row: Row | bytes, kinds: tuple[Kind, ...], default_id: str) -> Record:
    """The row as a record of the kind that its tag names, else the first; DataError without a place."""
    plain = from_json(row) if isinstance(row, bytes) else row
    return Record(kind_of(plain, kinds).parse(plain, default_id), origin, number)


def from_json(line: bytes) -> Row:
    """The object on a line; DataError for anything else."""
    import orjson

    try:
        row = orjson.loads(line.rstrip())
    except orjson.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} (column {error.colno})") from error
    if not isinstance(row, dict):
        hint = "one object a line: jq -c '.[]' FILE" if isinstance(row, list) else None
        raise DataError("expected a JSON object", hint=hint)
    return row


def as_it_came(line: bytes) -> Row | str:
    """The object on a line, or its text where it is none."""
    try:
        return from_json(line)
    except DataError:
        return line.decode(errors="replace").rstrip("\r\n")
