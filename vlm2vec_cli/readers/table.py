"""Any table, CSV, TSV, JSON lines, Parquet: a row of it is a row of ours, its fields found through `--map`.

Cells with pictures in them (`bytes`, or `{bytes, path}` as the hub stores them) become references to the
cell. Paths of media that lie beside the table, or under --root, become references to them. In CSV an empty
cell is no value.
Source: this project.
"""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import orjson

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.readers import Raw, Side
from vlm2vec_cli.readers import _mapping as mapping
from vlm2vec_cli.readers._cells import held, parquet, path_in, shallow
from vlm2vec_cli.readers._media import with_frames
from vlm2vec_cli.readers._rows import rows
from vlm2vec_cli.schemas import media_ref
from vlm2vec_cli.schemas.base import Kind, Row
from vlm2vec_cli.streams import opening

DELIMITERS = ("\t", ",", ";")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
ONE_A_LINE = "one object a line: jq -c '.[]' FILE"


class Reference(str):
    """A reference that is complete: its path is not looked for beside the table."""


class Line(NamedTuple):
    """One row of a table, by column."""

    place: str
    values: dict[str, Any]


def read(entry: Entry, raw: Raw, side: Side) -> Iterator[Row]:
    """The rows of the tables in `paths`, one after the other. Raises UsageError for a column no table has."""
    sources, wanted = mapping.parse(entry["maps"]), kind(entry)
    number = 0
    for typed in entry["paths"]:
        folder = raw.root if entry.get("rooted") or typed == opening.STDIN else Path(typed).parent
        for line in _lines(raw, typed, sources):
            number += 1
            try:
                row = mapping.typed(mapping.mapped(sources, line.values), wanted)
                _relocate(raw, folder, wanted, row)
                yield wanted.parse(_defaults(entry, raw, wanted, row), str(number))
            except UserError as error:
                raw.reject(error.at(line.place))


def kind(entry: Entry) -> Kind:
    """Pairs when `--map` fills a side of a pair, else items. UsageError for a malformed `--map`."""
    return mapping.kind_of(mapping.parse(entry["maps"]))


def _defaults(entry: Entry, raw: Raw, kind: Kind, row: Row) -> Row:
    row.setdefault("dataset", entry["name"])
    if kind.name == "item":
        for name in ("role", "instruction"):
            if entry.get(name):
                row.setdefault(name, entry[name])
    return with_frames(row, entry, raw)


def _lines(raw: Raw, typed: str, sources: Sequence[mapping.Source]) -> Iterator[Line]:
    with opening.opened(typed) as (form, stream):
        shown = opening.display(typed)
        if form == "parquet":
            if typed == opening.STDIN:
                raise UsageError("a Parquet table is read from a file, not from stdin")
            yield from _parquet_lines(raw, Path(typed), sources)
        elif _is_json(shown, stream):
            yield from _json_lines(raw, shown, stream, sources)
        else:
            yield from _csv_lines(raw, shown, stream, sources)


def _is_json(shown: str, stream: BinaryIO) -> bool:
    name = shown.lower().removesuffix(".gz").removesuffix(".zst")
    return name.endswith(JSON_SUFFIXES) or _head(stream).lstrip()[:1] == b"{"


def _head(stream: BinaryIO) -> bytes:
    return cast(io.BufferedReader, stream).peek(1).removeprefix(opening.BYTE_ORDER_MARK)


def _parquet_lines(raw: Raw, path: Path, sources: Sequence[mapping.Source]) -> Iterator[Line]:
    with parquet(path) as file:
        known: list[str] = file.schema_arrow.names
    mapping.check(sources, known, str(path))
    kinds = held(path, known)
    cells = [name for name in known if kinds[name] == "bytes"]
    paths = [name for name in known if kinds[name] == "path"]
    for row in rows([path], (), raw, shallow(known, kinds)):
        values = {name: value for name, value in row.values.items() if name not in paths}
        values.update({name: path_in(row.values[name]) for name in paths})
        values.update(
            {
                name: Reference(raw.references.of(path.parent, f"{path.name}!{name}[{row.index}]"))
                for name in cells
            }
        )
        yield Line(row.place, values)


def _json_lines(raw: Raw, shown: str, stream: BinaryIO, sources: Sequence[mapping.Source]) -> Iterator[Line]:
    known: dict[str, None] = {}
    for number, text in opening.lines(stream, shown):
        place = f"{shown} line {number}"
        hint = ONE_A_LINE if text.lstrip().startswith(b"[") else None
        try:
            values = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raw.reject(DataError(f"not JSON: {error.msg}", place=place, hint=hint))
            continue
        if isinstance(values, dict):
            known.update(dict.fromkeys(values))
            yield Line(place, values)
        else:
            raw.reject(DataError("expected a JSON object", place=place, hint=hint))
    if known:  # a line may lack a column, but one that no line has is misspelled
        mapping.check(sources, list(known), shown)


def _csv_lines(raw: Raw, shown: str, stream: BinaryIO, sources: Sequence[mapping.Source]) -> Iterator[Line]:
    first = _head(stream).split(b"\n", 1)[0].decode(errors="replace")
    csv.field_size_limit(sys.maxsize)
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=max(DELIMITERS, key=first.count), strict=True)
    try:
        header = next(reader, [])
        if not header or len(set(header)) < len(header):
            raise DataError("expected a first line of distinct column names", place=f"{shown} line 1")
        mapping.check(sources, header, shown)
        for cells in reader:
            place = f"{shown} line {reader.line_num}"
            if cells and len(cells) != len(header):
                fact = f"{len(cells)} cell{'s' * (len(cells) > 1)} under {len(header)} columns"
                raw.reject(DataError(fact, place=place))
            elif cells:
                yield Line(place, {name: cell for name, cell in zip(header, cells, strict=True) if cell})
    except (csv.Error, UnicodeDecodeError) as error:
        fact = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not CSV: {error}"
        raise DataError(fact, place=f"{shown} line {reader.line_num + 1}") from error
    finally:
        text.detach()  # the stream is closed by whoever opened it


def _relocate(raw: Raw, folder: Path, kind: Kind, row: Row) -> None:
    """Makes paths of media that exist in `folder` references; everything else stays as written."""
    sides = (
        [row]
        if kind.name == "item"
        else [row.get("query"), row.get("positive"), *(row.get("negatives") or [])]
    )
    for side in sides:
        for name in ("image", "video"):
            value = side.get(name) if isinstance(side, Mapping) else None
            if isinstance(value, str):
                side[name] = _found(raw, folder, value)
            elif isinstance(value, list):
                side[name] = [_found(raw, folder, one) if isinstance(one, str) else one for one in value]


def _found(raw: Raw, folder: Path, value: str) -> str:
    if isinstance(value, Reference):
        return str(value)
    try:
        parsed = media_ref.parse(value, lambda path: (folder / path).is_file())
    except DataError:
        return value
    if parsed.scheme != "path" or Path(parsed.path).is_absolute() or not (folder / parsed.path).exists():
        return value
    return raw.references.of(folder, value)
