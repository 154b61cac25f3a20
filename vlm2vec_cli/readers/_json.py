"""JSON files of objects, a list or one a line, an object at a time however long the file is."""

import json
from codecs import getincrementaldecoder
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from vlm2vec_cli.errors import DataError, UsageError
from vlm2vec_cli.readers._raw import Raw
from vlm2vec_cli.readers._rows import RawRow
from vlm2vec_cli.streams import opening

CHUNK_BYTES = 1 << 20


def elements(path: str, raw: Raw) -> Iterator[RawRow]:
    """The objects of a file. Lines that are none go to `raw.reject`; a damaged list raises DataError."""
    for number, found in _entries(path):
        if isinstance(found, DataError):
            raw.reject(found)
        else:
            yield RawRow(found, Path(path), number - 1, number)


def first(path: str) -> dict[str, Any] | None:
    """The first object of a file; None where it has none."""
    return next((found for _, found in _entries(path) if isinstance(found, dict)), None)


def _entries(path: str) -> Iterator[tuple[int, dict[str, Any] | DataError]]:
    """Number, from 1, and value of each entry, or what is wrong with it."""
    if path == opening.STDIN:
        raise UsageError("this source is read more than once, so not from stdin")
    opening.find([path])
    with opening.opened(path) as (form, stream):
        if form == "parquet":
            raise DataError("expected JSON, got Parquet", place=path)
        is_list = stream.read(CHUNK_BYTES).lstrip(b" \t\r\n\xef\xbb\xbf")[:1] == b"["
    with opening.opened(path) as (_, stream):
        if is_list:
            for number, value in enumerate(_listed(stream, path), start=1):
                bad = DataError("expected a JSON object", place=f"{path} entry {number}")
                yield number, value if isinstance(value, dict) else bad
        else:
            for number, line in opening.lines(stream, path):
                yield number, _parsed(line, f"{path} line {number}")


def _listed(stream: BinaryIO, path: str) -> Iterator[Any]:
    """The entries of a JSON list, of which about a chunk is held at a time."""
    decoder, decode = json.JSONDecoder(), getincrementaldecoder("utf-8-sig")().decode
    text, at, count, more = "", 0, 0, True
    opened = False
    while True:
        while (at < len(text) and text[at] in " \t\r\n,") or (not opened and text[at : at + 1] == "["):
            opened = opened or text[at] == "["
            at += 1
        if text[at : at + 1] == "]":
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError as error:
            if not more:
                place = f"{path} entry {count + 1}"
                raise DataError("the list ends in the middle of an entry", place=place) from error
            chunk = stream.read(CHUNK_BYTES)
            more, text, at = bool(chunk), text[at:] + decode(chunk, not chunk), 0
            continue
        count += 1
        yield value


def _parsed(line: bytes, place: str) -> dict[str, Any] | DataError:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return DataError(f"not JSON: {error.msg}", place=place)
    return found if isinstance(found, dict) else DataError("expected a JSON object", place=place)
