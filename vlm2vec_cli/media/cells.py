"""Values in Parquet files: bytes, structs of `bytes` and `path`, references as text, or lists of those."""

import threading
from bisect import bisect_right
from typing import Any

from vlm2vec_cli.errors import DataError, nearest
from vlm2vec_cli.media.handles import Handles
from vlm2vec_cli.schemas.media_ref import Cell

Part = bytes | str


class Table:
    """An open Parquet file: its footer, and row groups read one column at a time."""

    def __init__(self, path: str, shown: str) -> None:
        import pyarrow
        from pyarrow import parquet

        try:
            self._file = parquet.ParquetFile(path, memory_map=False)
            self.columns: list[str] = self._file.schema_arrow.names
        except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
            raise DataError(f"{shown} is no readable Parquet file: {_line(error)}") from error
        self._lock = threading.Lock()
        self._broken: type[Exception] = pyarrow.ArrowException
        self.starts = [0]
        for number in range(self._file.num_row_groups):
            self.starts.append(self.starts[-1] + self._file.metadata.row_group(number).num_rows)

    @property
    def num_rows(self) -> int:
        """Rows in all row groups."""
        return self.starts[-1]

    def read_group(self, number: int, column: str) -> Any:
        """Row group `number` of one column as a pyarrow ChunkedArray."""
        try:
            with self._lock:
                return self._file.read_row_group(number, columns=[column], use_threads=False).column(0)
        except (self._broken, OSError, ValueError) as error:
            raise DataError(f"row group {number} of the Parquet file is damaged: {_line(error)}") from error


def read_cell(table: Table, key: tuple[object, ...], cell: Cell, handles: Handles) -> list[Part]:
    """The pictures in a cell: bytes, or references as text. `key` tells this version of the file from others.

    Raises DataError for an unknown column, a row or element that is not there, an empty cell, and values that
    are neither bytes nor text.
    """
    column, inner = _column(table, cell.column)
    if cell.row >= table.num_rows:
        raise DataError(f"the Parquet file has rows 0 to {table.num_rows - 1}, no row {cell.row}")
    group = bisect_right(table.starts, cell.row) - 1
    values = handles.row_groups.get(
        (key, group, column), lambda: table.read_group(group, column), lambda values: int(values.nbytes)
    )
    try:
        value = values[cell.row - table.starts[group]].as_py()
    except (ValueError, IndexError) as error:  # text that is no UTF-8, a footer that counts other rows
        raise DataError(f"column {column!r} is damaged in row {cell.row}: {_line(error)}") from error
    for name in inner:
        if not isinstance(value, dict) or name not in value:
            raise DataError(f"column {column!r} has no field {name!r} in row {cell.row}")
        value = value[name]
    parts = _parts(value, cell)
    if not parts:
        raise DataError(f"column {cell.column!r} is empty in row {cell.row}")
    if cell.element is None:
        return parts
    if cell.element >= len(parts):
        raise DataError(f"the list has elements 0 to {len(parts) - 1}, no element {cell.element}")
    return [parts[cell.element]]


def _column(table: Table, name: str) -> tuple[str, list[str]]:
    """The top-level column and the field names below it; a column that holds dots itself comes first."""
    if name in table.columns:
        return name, []
    top, *inner = name.split(".")
    if top in table.columns:
        return top, inner
    hint = nearest(name, table.columns) or f"columns: {', '.join(table.columns)}"
    raise DataError(f"the Parquet file has no column {name!r}", hint=hint)


def _parts(value: Any, cell: Cell) -> list[Part]:
    """Bytes win over a path; absent and empty values are no part."""
    if value is None or value in (b"", ""):
        return []
    if isinstance(value, bytes | str):
        return [value]
    if isinstance(value, list):
        return [part for element in value for part in _parts(element, cell)]
    if isinstance(value, dict) and any(name in value for name in ("bytes", "path", "paths")):
        content, path = value.get("bytes"), value.get("path", value.get("paths"))
        if isinstance(content, list) and isinstance(path, list) and len(content) == len(path):
            return [part for pair in zip(content, path, strict=True) for part in _parts(_struct(pair), cell)]
        return _parts(content, cell) or _parts(path, cell)
    raise DataError(
        f"column {cell.column!r} holds {_kind(value)} in row {cell.row}, expected bytes or a path"
    )


def _struct(pair: tuple[Any, Any]) -> dict[str, Any]:
    return {"bytes": pair[0], "path": pair[1]}


def _kind(value: Any) -> str:
    return f"a struct of {', '.join(value)}" if isinstance(value, dict) else type(value).__name__


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
