"""Rows as Parquet: fixed columns for known fields, typed columns for the others, and nothing lost.

Known fields always have the column of their type. Any other field of the first row group becomes a column of
the type found there. What does not fit its column, such as a field that turns up later, stands as JSON in the
string column `_extra`, and is merged back on reading, so that row -> Parquet -> row is the identity.
File metadata `vlm2vec` is JSON: the tag, the tool version, and what is equal for all rows of a run.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vec_cli import __version__
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.base import Kind, Row
from vlm2vec_cli.streams import columns
from vlm2vec_cli.streams.blocks import Block
from vlm2vec_cli.streams.columns import EXTRA
from vlm2vec_cli.streams.parquet import KEY
from vlm2vec_cli.streams.shielding import shielded

GROUP_ROWS = 1024
GROUP_BYTES = 32 << 20
STORED = {"float16": pa.float16(), "int8": pa.int8(), "binary": pa.uint8()}


class ParquetWriter:
    """Writes groups of at most 1,024 rows or about 32 MB; nothing is written before the first group.

    A signal waits until the group that is being written is whole; not so in a pipe, where nobody may read.
    """

    def __init__(self, stream: BinaryIO, kind: Kind, metadata: Mapping[str, Any]) -> None:
        self._stream = stream
        self._kind = kind
        self._known = {one.name: one.type for one in kind.fields if one.name not in kind.file_fields}
        self._metadata = {"schema": kind.tag, "tool_version": __version__, **metadata}
        self._given = frozenset(metadata)
        self._rows: list[Row] = []
        self._bytes = 0
        self._others: dict[str, pa.DataType] = {}
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None
        self._shield = shielded if stream.seekable() else contextlib.nullcontext

    def write(self, row: Row) -> None:
        """Takes one row; DataError when its embedding has another dimension than the first one's."""
        if not self._rows and self._schema is None:
            for name in self._kind.file_fields:
                if name in row:
                    self._metadata.setdefault(name, row[name])
        self._check_dimension(row)
        self._rows.append(row)
        self._bytes += columns.size(row)
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            with self._shield():
                self._flush()

    def write_block(self, block: Block) -> None:
        """Takes many rows at once."""
        for row in block.rows():
            self.write(row)

    def close(self) -> None:
        """Writes what is left and the footer."""
        with self._shield():
            self._flush()
            if self._writer is not None:
                try:
                    self._writer.close()
                finally:
                    self.drop()

    def drop(self) -> None:
        """Leaves what is not closed as it is; Arrow's finaliser would write to a stream that has ended."""
        if self._writer is not None:
            self._writer.is_open = False

    def _check_dimension(self, row: Row) -> None:
        if "embedding" not in self._known:
            return
        if self._schema is not None:
            first = self._schema.field("embedding").type.list_size
        else:
            first = len(self._rows[0]["embedding"]) if self._rows else len(row["embedding"])
        if len(row["embedding"]) != first:
            raise DataError(
                f"embedding: expected {first} numbers as in the first row, got {len(row['embedding'])}"
            )

    def _flush(self) -> None:
        if self._writer is None:
            self._schema = self._schema_of_first_rows()
            strings = [one.name for one in self._schema if pa.types.is_string(one.type)]
            self._writer = pq.ParquetWriter(
                self._stream, self._schema, compression="zstd", use_dictionary=strings or False
            )
        elif not self._rows:
            return
        assert self._schema is not None
        encoded = [self._encode(row) for row in self._rows]
        arrays = [columns.array([row.get(one.name) for row in encoded], one.type) for one in self._schema]
        if self._rows:
            self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._rows, self._bytes = [], 0

    def _schema_of_first_rows(self) -> pa.Schema:
        fields = []
        for name, word in self._known.items():
            kind = columns.ARROW[word] if word != "embedding" else self._embedding_type()
            fields.append(pa.field(name, kind))
        skip = {*self._known, *self._kind.file_fields, "schema", EXTRA}
        self._others = columns.infer_all(self._rows, skip)
        fields += [pa.field(name, kind) for name, kind in self._others.items()]
        fields.append(pa.field(EXTRA, pa.string()))
        return pa.schema(fields, metadata={KEY: orjson.dumps(self._metadata)})

    def _embedding_type(self) -> pa.DataType:
        number = STORED.get(str(self._metadata.get("precision")), pa.float32())
        if not self._rows:
            dim = self._metadata.get("dim", -1)
            return pa.list_(number, dim if number != pa.uint8() else -(-dim // 8))
        first = self._rows[0]["embedding"]
        if number == pa.float32() and str(getattr(first, "dtype", "")) in ("int8", "uint8"):
            number = pa.from_numpy_dtype(first.dtype)
        return pa.list_(number, len(first))

    def _encode(self, row: Row) -> Row:
        """One value a column; None for an absent one."""
        fits: Row = {}
        learnt = (
            name for name in self._kind.file_fields if name in self._metadata and name not in self._given
        )
        extra: Row = {name: None for name in learnt if name not in row}
        for name, value in row.items():
            word = self._known.get(name)
            if name == "schema":
                continue
            if name in self._kind.file_fields:
                if self._metadata.get(name) != value:
                    extra[name] = value
            elif word is not None:
                if value is not None:
                    fits[name] = columns.ENCODE.get(word, _same)(value)
            elif name in self._others and columns.fits(value, self._others[name]):
                fits[name] = value
            else:
                extra[name] = value
        if extra:
            fits[EXTRA] = columns.to_json(extra)
        return fits


def _same(value: Any) -> Any:
    return value
