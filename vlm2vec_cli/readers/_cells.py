"""Pictures in Parquet columns: bytes, to be referred to by cell, or paths? No bytes are read to tell."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vec_cli.errors import DataError

Held = Literal["bytes", "path", "value"]
EMPTY_BYTES_A_ROW = 8
"""A column of nulls takes less than this for a row, a column of pictures more."""


@contextmanager
def parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """The file, open. DataError for a damaged one, also where that is noticed while it is read."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"not a readable Parquet file: {str(error).splitlines()[0]}", place=str(path)
        ) from error


def held(path: Path, columns: list[str]) -> dict[str, Held]:
    """What each of the file's `columns` holds; columns that the file lacks are left out.

    "bytes" is binary, or `{bytes, path}` with bytes; "path" such a struct without bytes; "value" all else.
    DataError for a damaged file.
    """
    with parquet(path) as file:
        schema = file.schema_arrow
        return {name: _held(file, schema.field(name)) for name in columns if name in schema.names}


def _held(file: pq.ParquetFile, field: pa.Field) -> Held:
    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if _is_binary(kind):
        return "bytes"
    if not pa.types.is_struct(kind):
        return "value"
    names = [kind.field(number).name for number in range(kind.num_fields)]
    if "bytes" in names and _is_binary(kind.field(names.index("bytes")).type):
        return "bytes" if "path" not in names or _filled(file, f"{field.name}.") else "path"
    return "path" if names == ["path"] else "value"


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _filled(file: pq.ParquetFile, column: str) -> bool:
    """Whether any value of the leaf `bytes` below `column` is there, by the footer."""
    for group in range(file.metadata.num_row_groups):
        described = file.metadata.row_group(group)
        for number in range(described.num_columns):
            leaf = described.column(number)
            if leaf.path_in_schema.startswith(column) and leaf.path_in_schema.endswith(".bytes"):
                if leaf.is_stats_set and leaf.statistics.has_null_count:
                    if leaf.statistics.null_count < leaf.num_values:
                        return True
                elif leaf.total_uncompressed_size > EMPTY_BYTES_A_ROW * leaf.num_values + 64:
                    return True
    return False


def path_in(value: object) -> str | None:
    """The path in a `{bytes, path}` struct or a plain string; None where there is none."""
    found = value.get("path") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found else None


def shallow(columns: list[str], kinds: dict[str, Held]) -> list[str]:
    """The columns to read so that no picture is loaded: none with bytes, of those with paths the path."""
    chosen = [name for name in columns if kinds.get(name) == "value"]
    return chosen + [f"{name}.path" for name in columns if kinds.get(name) == "path"]
