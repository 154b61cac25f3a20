"""Rows as JSON lines, the tag first in each; the other form of an output is `parquet`."""

import io
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.base import Kind, Row
from vlm2vec_cli.streams.blocks import Block

FLUSH_SECONDS = 0.5


class JsonlWriter:
    """A row a line, the tag first. A terminal gets rows at once, a pipe the first and then twice a second."""

    def __init__(self, stream: BinaryIO, kind: Kind, metadata: Mapping[str, Any]) -> None:
        import orjson

        self._stream = stream
        self._kind, self._tag = kind, kind.tag
        self._of_run = {name: metadata[name] for name in kind.file_fields if name in metadata}
        self._dumps = orjson.dumps
        self._options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        self._flushed = float("-inf")
        self._flushes = isinstance(stream, io.BufferedWriter)  # else bytes would depend on the clock
        self._pause = 0.0 if self._flushes and stream.isatty() else FLUSH_SECONDS

    def write(self, row: Row) -> None:
        """Writes one row; DataError for values that JSON cannot hold."""
        tagged = {"schema": self._tag, **row}
        tagged["schema"] = self._tag
        for name, value in self._of_run.items():
            tagged.setdefault(name, value)
        try:
            line = self._dumps(tagged, option=self._options)
        except TypeError as error:
            raise _not_json(row, error) from error
        self._stream.write(line)
        if self._flushes and time.monotonic() - self._flushed >= self._pause:
            self._stream.flush()
            self._flushed = time.monotonic()

    def write_block(self, block: Block) -> None:
        """Writes many rows at once."""
        if self._of_run:
            for row in block.rows():
                self.write(row)
        else:
            self._stream.write(block.lines(self._kind))

    def close(self) -> None:
        """Nothing to finish."""

    def drop(self) -> None:
        """Nothing to leave."""


def _not_json(row: Row, error: TypeError) -> Exception:
    for name, value in row.items():
        if "bytes" in str(error) and _holds_bytes(value):
            return DataError(
                f"{name}: binary data cannot be written as JSON", hint="write Parquet: -o FILE.parquet"
            )
    return error


def _holds_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, list) and any(map(_holds_bytes, value)))
