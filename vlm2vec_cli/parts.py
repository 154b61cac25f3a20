"""Vectors as a folder of numbered part files: by shards, and resumable.

Part k holds the vectors of input rows k * size to (k + 1) * size, whoever made it, so that all parts in the
order of their names are the whole output. Shard i of n makes the parts whose number is i modulo n. A part has
its name only once it is complete, and records the fingerprint of the model, the digest of its input rows and
whether it is the last one. It is computed from its own rows alone, so its bytes are the same whoever makes
it, in one go or after a stop; two processes never make the same part at once.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow.parquet as pq

from vlm2vec_cli import streams
from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.schemas.vector import VECTOR
from vlm2vec_cli.shards import Shard

log = logging.getLogger(__name__)

Row = dict[str, Any]

# Of the facts that a part records, those that decide its rows beside the model and the input.
_DECIDING = ("precision", "dim", "normalize", "instruction", "keep", "drop")
_IDENTITY = ("id", "dataset", "role")


class Part(NamedTuple):
    """One file to make."""

    number: int
    path: Path
    digest: str
    last: bool


class _Batch(NamedTuple):
    """The records of a part, the error that cuts them off, and whether the input ends with them."""

    records: list[Record]
    error: UserError | None
    last: bool


def write(
    records: Iterable[Record],
    embed: Callable[[Iterator[Record | None]], Iterable[Row | None]],
    folder: Path,
    shard: Shard,
    facts: Mapping[str, Any],
    reject: Callable[[UserError], None],
    *,
    size: int,
    resume: bool,
) -> None:
    """Makes the shard's parts in `folder`. `embed` gives a row or None for each record, in order; a None
    among its records stands between two parts, whose rows are not to be computed together. Records that a
    finished part was made without go to `reject`.

    Raises UsageError for parts that are there already without `resume`, DataError for parts of another model
    or input, UnavailableError for a part that another process is making.
    """
    owners: deque[tuple[Part, int]] = deque()
    finished: list[Part] = []

    def wanted(lock: streams.Lock) -> Iterator[Record | None]:
        for part, batch in _held(_batches(records, size), folder, shard, lock):
            if part.path.exists() and _is_finished(part, facts, resume):
                lock.free(part.number)
                finished.append(part)
                for record in _left_out(part, batch.records):
                    reject(_rejected_before(part, record))
                continue
            # What cuts it off comes in the place of a row.
            owners.append((part, len(batch.records) + (batch.error is not None)))
            yield from batch.records
            yield None
        if finished:
            log.info("%d finished parts of shard %s skipped", len(finished), shard.name)

    with streams.locked(folder) as lock:
        made = iter(embed(wanted(lock)))
        for first in made:
            part, number = owners.popleft()
            found = {**facts, "input_digest": part.digest, "last": part.last}
            # Exactly its rows: an error of a later part comes when this one has its name.
            rows = chain([first], islice(made, number - 1))
            streams.write_file(str(part.path), (row for row in rows if row is not None), VECTOR, found)
            for left in (f"{part.path.name}.partial", f".{part.path.name}.*.tmp"):
                for path in folder.glob(left):  # by a run that was stopped
                    path.unlink()
            lock.free(part.number)


def _held(
    batches: Iterable[_Batch], folder: Path, shard: Shard, lock: streams.Lock
) -> Iterator[tuple[Part, _Batch]]:
    """The shard's parts, each held before it is looked at; DataError for one behind the end of the input."""
    number = -1
    for number, batch in enumerate(batches):
        if batch.records and number % shard.count == shard.index:
            part = Part(number, _path(folder, number), _digest(batch.records), batch.last)
            lock.hold(number, str(part.path))
            yield part, batch
        if batch.error is not None:
            raise batch.error
    later = _path(folder, number + 1)
    if later.exists():
        raise DataError("the input ends before this part", place=str(later), hint="another -o DIR")


def _path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06}.parquet"


def _batches(records: Iterable[Record], size: int) -> Iterator[_Batch]:
    """The records by `size`; nothing follows an error."""
    source = iter(records)
    batch, error = _taken(source, size)
    while batch or error is not None:
        following, late = _taken(source, 1) if error is None else ([], None)
        yield _Batch(batch, error, last=not following and error is None and late is None)
        batch, error = following, late
        if following:
            more, error = _taken(source, size - 1)
            batch = following + more


def _taken(source: Iterator[Record], size: int) -> tuple[list[Record], UserError | None]:
    """Up to `size` records, and the error that they ended with."""
    batch: list[Record] = []
    try:
        batch.extend(islice(source, size))  # what came before an error is kept
    except UserError as error:
        return batch, error
    return batch, None


def _digest(batch: Iterable[Record]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    options = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    for record in batch:
        digest.update(orjson.dumps(record.row, option=options, default=repr) + b"\n")
    return digest.hexdigest()


def _is_finished(part: Part, facts: Mapping[str, Any], resume: bool) -> bool:
    """Whether a part that is there can stay: not where the input went on, or now ends, behind it."""
    if not resume:
        raise UsageError(
            "this part is there already", place=str(part.path), hint="--resume, or another -o DIR"
        )
    try:
        found = {"last": part.last, **orjson.loads((pq.read_schema(part.path).metadata or {})[b"vlm2vec"])}
    except (OSError, ValueError, KeyError) as error:
        raise DataError("no part of vectors", place=str(part.path), hint="another -o DIR") from error
    if found.get("fingerprint") != facts["fingerprint"]:
        raise DataError(
            f"made by the model {found.get('fingerprint')}, not {facts['fingerprint']}",
            place=str(part.path),
            hint="the same model and options as before, or another -o DIR",
        )
    same = all(found.get(name) == facts.get(name) for name in _DECIDING)
    if found.get("input_digest") != part.digest or not same:
        raise DataError(
            "made from other input rows or options",
            place=str(part.path),
            hint="the same input, --instruction, --precision, --keep, --drop and --part-rows as before, "
            "or another -o DIR",
        )
    return bool(found["last"] == part.last)


def _left_out(part: Part, records: list[Record]) -> Iterator[Record]:
    """The records that are not in a finished part."""
    with pq.ParquetFile(part.path) as file:
        if file.metadata.num_rows == len(records):
            return
        columns = [file.read([name]).column(0).to_pylist() for name in _IDENTITY]
    made = zip(*columns, strict=True)
    upcoming = next(made, None)
    for record in records:
        if tuple(record.row[name] for name in _IDENTITY) == upcoming:
            upcoming = next(made, None)
        else:
            yield record


def _rejected_before(part: Part, record: Record) -> DataError:
    return DataError(
        f"was rejected when {part.path} was made",
        place=record.place,
        hint="--on-error skip, as then; or remove that part, and it is tried again",
    )
