"""Inputs: finding the files, opening them by their first bytes, reading lines."""

import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, cast

from vlm2vec_cli.errors import DataError, MissingError, UsageError

STDIN = "-"
PARTS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".parquet")
_NUMBERED = re.compile(r"part-(\d{6,})\.parquet")  # see `vlm2vec_cli.parts`
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Form = Literal["jsonl", "parquet"]


def display(path: str) -> str:
    """How messages name an input: the path as typed, or "stdin"."""
    return "stdin" if path == STDIN else path


def find(paths: Sequence[str]) -> list[str]:
    """Every file to read, folders replaced by their part files in sorted order.

    Raises MissingError for a path that is not there and for a folder without part files, UsageError for
    more than one stdin, DataError for a folder of `vlm2vec embed` in which a part is missing.
    """
    if sum(path == STDIN for path in paths) > 1:
        raise UsageError("stdin can be read once, '-' is given twice", hint="name files for the other inputs")
    found: list[str] = []
    for path in paths:
        if path == STDIN:
            found.append(path)
        elif Path(path).is_dir():
            parts = sorted(
                one.name
                for one in Path(path).iterdir()
                if one.name.endswith(PARTS) and not one.name.startswith(".") and one.is_file()
            )
            if not parts:
                raise MissingError("no .jsonl or .parquet file in this folder", place=path)
            _check_whole(path, parts)
            found += [str(Path(path) / part) for part in parts]
        elif Path(path).exists():
            found.append(path)
        else:
            raise MissingError("no such file", place=path)
    return found


def _check_whole(folder: str, names: Sequence[str]) -> None:
    numbers = {int(match[1]): name for name in names if (match := _NUMBERED.fullmatch(name))}
    gap = next(number for number in range(len(numbers) + 1) if number not in numbers)
    if gap < len(numbers) or (numbers and not _is_last(Path(folder) / numbers[gap - 1])):
        raise DataError(
            "this part is missing",
            place=str(Path(folder) / f"part-{gap:06}.parquet"),
            hint="the same vlm2vec embed with --resume makes it",
        )


def _is_last(path: Path) -> bool:
    """What a part of vectors records; true of any other file."""
    import pyarrow.parquet as pq  # only whoever reads a folder of parts pays for it

    try:
        facts = json.loads((pq.read_schema(path).metadata or {})[b"vlm2vec"])
        return bool(facts.get("last", True))
    except (OSError, ValueError, KeyError, AttributeError):  # whoever reads it says what is wrong
        return True


def stdin() -> BinaryIO:
    """The bytes of stdin; MissingError where it was closed before we began (`<&-`)."""
    if sys.stdin is None:
        raise MissingError("closed", place=display(STDIN), hint="name a FILE, or pipe rows in")
    return sys.stdin.buffer


@contextlib.contextmanager
def opened(path: str) -> Iterator[tuple[Form, BinaryIO]]:
    """The form of an input and its bytes, decompressed; MissingError where it cannot be opened."""
    with contextlib.ExitStack() as stack:
        if path == STDIN:
            raw = stdin()
        else:
            try:
                raw = stack.enter_context(open(path, "rb"))
            except OSError as error:
                raise MissingError(f"cannot be read: {error.strerror}", place=path) from error
        buffered = cast(io.BufferedReader, raw)
        start = buffered.peek(4)[:4]
        if start == b"PAR1":
            yield "parquet", buffered
        elif start[:2] == b"\x1f\x8b":
            import gzip

            yield "jsonl", cast(BinaryIO, stack.enter_context(gzip.open(buffered)))
        elif start == b"\x28\xb5\x2f\xfd":
            import zstandard

            frames = zstandard.ZstdDecompressor().stream_reader(
                buffered, read_across_frames=True, closefd=False
            )
            yield "jsonl", cast(BinaryIO, io.BufferedReader(frames))
        else:
            yield "jsonl", buffered


def lines(stream: BinaryIO, place: str) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of every line that is not blank; DataError for a damaged stream."""
    number = 0
    try:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if not line.isspace():
                yield number, line
    except Exception as error:
        # the errors of compressors that may not be loaded: EOFError, gzip.BadGzipFile, zlib.error, ZstdError
        if type(error).__name__ not in ("EOFError", "BadGzipFile", "error", "ZstdError"):
            raise
        raise DataError(
            f"the compressed stream is damaged after line {number}: {error}", place=place
        ) from error


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Number and text, without its end, of every line of a text file that is not blank; gzip and zstd too."""
    find([path])
    with opened(path) as (form, stream):
        if form == "parquet":
            raise DataError("expected text, got Parquet", place=display(path))
        for number, line in lines(stream, display(path)):
            try:
                yield number, line.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise DataError("not UTF-8", place=f"{display(path)} line {number}") from error
