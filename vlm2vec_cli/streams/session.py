"""One run of a command: its inputs, its output, its rejected rows."""

import contextlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from vlm2vec_cli.errors import DataError, MissingError, UsageError, UserError, nearest
from vlm2vec_cli.schemas.base import Kind, Record, Row
from vlm2vec_cli.streams import opening, sinks
from vlm2vec_cli.streams.batches import Batch
from vlm2vec_cli.streams.blocks import Piece
from vlm2vec_cli.streams.reading import as_it_came, stretches
from vlm2vec_cli.streams.rows import Stretches, batches, records

log = logging.getLogger(__name__)

ROW_SUFFIXES = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
TEXT_SUFFIXES = {
    **ROW_SUFFIXES,
    ".txt": "text",
    ".md": "md",
    ".html": "html",
    ".csv": "csv",
    ".tex": "latex",
    ".json": "json",
    ".xml": "junit",
}


class Session:
    """What every command opens first; everything wrong with the command line is said before any work.

    `inputs` are paths of files, folders of part files, or "-"; none is stdin. `natural` is the command's own
    output format, `formats` are further names that its --format takes. `on_error` "fail" stops at the first
    bad row; "skip" writes it to `rejects` and ends with 65 when there were more than `allow_rejects`.
    `limit` reads only the first rows of the inputs. With `parts` the output is a folder, which the command
    fills itself.
    """

    def __init__(
        self,
        inputs: Sequence[str] | None = None,
        output: str = "-",
        *,
        natural: Literal["jsonl", "parquet", "text"] = "jsonl",
        format: str | None = None,
        formats: Sequence[str] = (),
        on_error: str = "fail",
        rejects: str | None = None,
        allow_rejects: int = 0,
        limit: int | None = None,
        media_root: str | None = None,
        quiet: bool = False,
        parts: bool = False,
    ) -> None:
        self.inputs = list(inputs or []) or [opening.STDIN]
        self.output = output
        self.on_error = on_error
        self.limit = limit
        self.quiet = quiet
        self.parts = parts
        self.rejected: Counter[int] = Counter()
        self.format = self._resolved(format, natural, formats)
        self._rejects = rejects
        self._allow_rejects = allow_rejects
        self._media_root = media_root or os.environ.get("VLM2VEC_MEDIA_ROOT") or None
        self._stdin_read = False
        self._rejects_stream: BinaryIO | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Session":
        self._check_rejects()
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit: expected a number above 0, got {self.limit}")
        if self._media_root is not None and not Path(self._media_root).is_dir():
            raise MissingError("no such folder", place=self._media_root, hint="check --media-root")
        opening.find(self.inputs)
        if self.parts:
            sinks.make_folder(self.output)
        elif self.output != sinks.STDOUT:
            sinks.check_folder(self.output)
        elif sys.stdout is None:
            raise UsageError("stdout is closed", hint="> FILE")
        elif self.format == "parquet" and sys.stdout.isatty():
            raise UsageError(
                "Parquet is not written to a terminal", hint="add -o FILE.parquet, --format jsonl, or a pipe"
            )
        if self._rejects is not None:
            self._rejects_stream = self._stack.enter_context(
                sinks.sink(self._rejects, holds="the rejected rows")
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if error is None:
            self._settle()

    @property
    def media_root(self) -> Path:
        """What references are resolved against where no input file says otherwise (see `origin_root`)."""
        return Path(self._media_root or ".").absolute()

    def origin_root(self, path: str) -> Path:
        """What the references of an input's rows are resolved against."""
        if self._media_root is not None or path == opening.STDIN:
            return self.media_root
        return Path(path).absolute().parent

    def read(self, kind: Kind | tuple[Kind, ...], paths: Sequence[str] | None = None) -> Iterator[Record]:
        """The rows of the command's inputs, or of `paths`, as records; bad ones go to `reject`.

        Of several kinds the row's tag decides; the first is for rows without tag. A default id is the number
        of the row, counted through all files.
        """
        kinds = kind if isinstance(kind, tuple) else (kind,)
        files = self._stretches(self._found(paths))
        return records(files, kinds, None if paths else self.limit, self.reject)

    def read_batches(
        self, kind: Kind | tuple[Kind, ...], paths: Sequence[str] | None = None
    ) -> Iterator[Batch]:
        """The same rows many at a time, which costs Parquet of vectors little more than opening it.

        A bad row goes to `reject` when the batch of the rows before it has been taken.
        """
        kinds = kind if isinstance(kind, tuple) else (kind,)
        files = self._stretches(self._found(paths), wide=True)
        return batches(files, kinds, None if paths else self.limit, self.reject)

    def _found(self, paths: Sequence[str] | None) -> list[str]:
        """The files to read, stdin among them only once."""
        files = opening.find(self.inputs if paths is None else paths)
        if opening.STDIN in files:
            if self._stdin_read:
                raise UsageError("stdin can be read once", hint="name files for the other inputs")
            self._stdin_read = True
        return files

    def _stretches(self, files: Iterable[str], *, wide: bool = False) -> Iterator[Stretches]:
        return (stretches(file, self.origin_root(file), wide=wide, quiet=self.quiet) for file in files)

    def write(self, rows: Iterable[Piece], kind: Kind, metadata: Mapping[str, Any] | None = None) -> int:
        """Writes rows of `kind` to the output as they come and returns their number.

        `metadata` goes into Parquet's file metadata; its model, revision, fingerprint and precision are
        fields of every vector.
        """
        return sinks.write_rows(self.output, self.format, rows, kind, metadata)

    def write_text(self, text: str) -> None:
        """Writes the whole output, as UTF-8."""
        sinks.save(self.output, text)

    def write_bytes(self, data: bytes) -> None:
        """Writes the whole output."""
        sinks.save(self.output, data)

    def reject(self, error: UserError, row: Row | bytes | None = None) -> None:
        """Raises `error` under --on-error fail; else counts it and notes place, code, reason and row."""
        if self.on_error == "fail":
            raise error
        self.rejected[error.exit_code] += 1
        if self._rejects_stream is None:
            return
        import orjson

        entry: Row = {"place": error.place, "code": error.exit_code, "reason": error.fact}
        if row is not None:
            entry["row"] = as_it_came(row) if isinstance(row, bytes) else row
        options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
        self._rejects_stream.write(orjson.dumps(entry, option=options, default=repr))
        self._rejects_stream.flush()

    def _settle(self) -> None:
        count = self.rejected.total()
        if not count:
            return
        rows = "row" if count == 1 else "rows"
        if count > self._allow_rejects:
            where = f"see {self._rejects}" if self._rejects else "--rejects FILE writes them down"
            raise DataError(f"{count} {rows} rejected, {self._allow_rejects} allowed", hint=where)
        log.warning("%d %s rejected, %d allowed", count, rows, self._allow_rejects)

    def _check_rejects(self) -> None:
        if self.on_error not in ("fail", "skip"):
            raise UsageError(f"--on-error: expected fail or skip, got {self.on_error!r}")
        if self.on_error == "fail" and (self._rejects is not None or self._allow_rejects):
            name = "--rejects" if self._rejects is not None else "--allow-rejects"
            raise UsageError(
                f"{name} has no use while the first bad row stops the run", hint="add --on-error skip"
            )
        if self._rejects == sinks.STDOUT:
            raise UsageError("--rejects needs a file: stdout carries data")
        if self._rejects is not None and os.path.realpath(self._rejects) == os.path.realpath(self.output):
            raise UsageError(f"--rejects and --output are the same file: {self.output}")

    def _resolved(self, format: str | None, natural: str, formats: Sequence[str]) -> str:
        suffixes = TEXT_SUFFIXES if natural == "text" else ROW_SUFFIXES
        known = sorted({*suffixes.values(), natural, *formats})
        if format is not None and format not in known:
            raise UsageError(
                f"--format: unknown format {format!r}",
                hint=nearest(format, known) or f"known: {', '.join(known)}",
            )
        by_suffix = None if self.output == sinks.STDOUT else sinks.format_of(self.output, suffixes)
        if by_suffix is not None and format not in (None, by_suffix):
            log.warning("--format %s is not used: the suffix of %s decides", format, self.output)
        return by_suffix or format or natural
