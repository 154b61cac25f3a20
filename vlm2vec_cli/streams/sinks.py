"""Outputs: stdout, or a file that has its name only once it is complete.

A file is written beside its final name and renamed at the end. Where the work stops early, what is finished
stays as NAME.partial, itself a valid file.
"""

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from vlm2vec_cli.errors import ReaderGone, UnavailableError, UsageError, UserError
from vlm2vec_cli.schemas.base import Kind, Row
from vlm2vec_cli.streams.blocks import Block, Piece
from vlm2vec_cli.streams.jsonl import JsonlWriter

if TYPE_CHECKING:
    from vlm2vec_cli.streams.parquet_writer import ParquetWriter

STDOUT = "-"

log = logging.getLogger(__name__)


def format_of(path: str, formats: Mapping[str, str]) -> str | None:
    """The format that a path's suffix names, a compression suffix set aside; None for any other suffix."""
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    return formats.get(os.path.splitext(name)[1])


def check_folder(path: str) -> None:
    """UsageError unless a file can be made at `path`."""
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        raise UsageError("expected a file, this is a folder", place=path)
    if os.path.exists(path) and not os.path.isfile(path):  # a device or a named pipe
        return
    if not os.path.isdir(folder):
        raise UsageError("the folder does not exist", place=path, hint=f"mkdir -p {os.path.dirname(path)}")
    if not os.access(folder, os.W_OK):
        raise UsageError("the folder cannot be written to", place=path)


def make_folder(path: str) -> None:
    """Makes a folder for part files; UsageError where it cannot be."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder cannot be made: {error.strerror}", place=path) from error
    if not os.access(path, os.W_OK):
        raise UsageError("the folder cannot be written to", place=path)


@contextlib.contextmanager
def sink(
    path: str, *, holds: str = "the finished rows", worth: Callable[[], bool] = lambda: True
) -> Iterator[BinaryIO]:
    """The bytes of an output; ReaderGone where the reader of a pipe has gone.

    On an exception a file stays as PATH.partial when `worth()` says that it holds something, and the
    message says that `holds` are there; else it is removed.
    """
    if path == STDOUT:
        with _closed_pipe_ends(), _stdout() as stdout:
            yield stdout
        return
    check_folder(path)
    if os.path.exists(path) and not os.path.isfile(path):
        with _closed_pipe_ends(), open(path, "wb") as special:
            yield special
        return
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    unfinished = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        with _disk_errors(path), open(unfinished, "wb") as raw, _compressor(name, raw) as stream:
            yield stream
    except BaseException as error:
        if os.path.exists(unfinished):
            if worth():
                os.replace(unfinished, f"{target}.partial")
                _say(f"{holds} are in {path}.partial", error)
            else:
                os.remove(unfinished)
        raise
    os.replace(unfinished, target)


def _say(fact: str, error: BaseException) -> None:
    if isinstance(error, UserError):
        error.hint = f"{error.hint}; {fact}" if error.hint else fact
    else:
        log.warning(fact)


@contextlib.contextmanager
def _stdout() -> Iterator[BinaryIO]:
    """Stdout with a buffer of our own: under PYTHONUNBUFFERED there is none, and writes may be partial."""
    sys.stdout.flush()
    try:
        number = sys.stdout.fileno()
    except io.UnsupportedOperation:  # replaced by something without a file
        yield sys.stdout.buffer
        return
    with open(number, "wb", closefd=False) as stream:
        yield stream


@contextlib.contextmanager
def _closed_pipe_ends() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


@contextlib.contextmanager
def _disk_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise UnavailableError(f"cannot be written: {error.strerror}", place=path) from error
        raise


@contextlib.contextmanager
def _compressor(name: str, raw: BinaryIO) -> Iterator[BinaryIO]:
    """Compresses by the suffix of `name`; the same bytes in give the same bytes out."""
    if name.lower().endswith(".gz"):
        import gzip

        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
            yield cast(BinaryIO, packed)
    elif name.lower().endswith(".zst"):
        import zstandard

        with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as packer:
            yield cast(BinaryIO, packer)
    else:
        yield raw


def write_rows(
    path: str, form: str, rows: Iterable[Piece], kind: Kind, metadata: Mapping[str, Any] | None = None
) -> int:
    """Writes all rows to stdout or a file, returns their number; when `rows` raises, keeps the finished."""
    number = 0
    facts = {name: value for name, value in (metadata or {}).items() if value is not None}
    with sink(path, worth=lambda: number > 0) as stream, contextlib.ExitStack() as left:
        writer: JsonlWriter | ParquetWriter
        if form == "parquet":
            from vlm2vec_cli.streams import parquet_writer

            writer = parquet_writer.ParquetWriter(stream, kind, facts)
        else:
            writer = JsonlWriter(stream, kind, facts)
        left.callback(writer.drop)
        try:
            for row in rows:
                try:
                    if isinstance(row, Block):
                        writer.write_block(row)
                    else:
                        writer.write(row)
                except UserError as error:
                    raise error.at(f"output row {number + 1}") from error.__cause__
                number += len(row) if isinstance(row, Block) else 1
        except (BrokenPipeError, ReaderGone):
            raise
        except BaseException:
            if number:
                writer.close()
            raise
        writer.close()
    return number


def write_file(path: str, rows: Iterable[Row], kind: Kind, metadata: Mapping[str, Any] | None = None) -> int:
    """Writes rows to a side file, Parquet or JSONL by its suffix, and returns their number."""
    form = format_of(path, {".parquet": "parquet"}) or "jsonl"
    return write_rows(path, form, rows, kind, metadata)


def save(path: str, data: str | bytes) -> None:
    """Writes a whole side file under its name at once, or not at all; "-" is stdout."""
    with sink(path, worth=lambda: False) as stream:
        stream.write(data.encode() if isinstance(data, str) else data)
