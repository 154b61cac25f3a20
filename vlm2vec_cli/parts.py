"""Vectors as a folder of numbered part files: by shards, and resumable.

Part k holds the vectors of input rows k * size to (k + 1) * size, whoever made it, so that all parts in the
order of their names are the whole output. Shard i of n makes the parts whose number is i modulo n. A part has
its name only once it is complete, and records the fingerprint of the model and the digest of its input rows.
It is computed from its own rows alone, so its bytes are the same whoever makes it, in one go or after a stop;
two processes never make the same part at once.
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


class Part(NamedTuple):
    """One file to make."""

    number: int
    path: Path
    digest: str


def write(
    records: Iterable[Record],
    embed: Callable[[Iterator[Record | None]], Iterable[Row | None]],
    folder: Path,
    shard: Shard,
    facts: Mapping[str, Any],
    *,
    size: int,
    resume: bool,
) -> None:
    """Makes the shard's parts in `folder`. `embed` gives a row or None for each record, in order; a None
    among its records stands between two parts, whose rows are not to be computed together.

    Raises UsageError for parts that are there already without `resume`, DataError for parts of another model
    or input, UnavailableError for a part that another process is making.
    """
    owners: deque[tuple[Part, int]] = deque()

    def wanted(lock: streams.Lock) -> Iterator[Record | None]:
        for part, batch, cut in _parts(records, folder, shard, facts, size, resume, lock):
            owners.append((part, len(batch) + cut))  # what cuts it off comes in the place of a row
            yield from batch
            yield None

    with streams.locked(folder) as lock:
        made = iter(embed(wanted(lock)))
        for first in made:
            part, number = owners.popleft()
            found = {**facts, "input_digest": part.digest}
            # Exactly its rows: an error of a later part comes when this one has its name.
            rows = chain([first], islice(made, number - 1))
            streams.write_file(str(part.path), (row for row in rows if row is not None), VECTOR, found)
            for left in (f"{part.path.name}.partial", f".{part.path.name}.*.tmp"):
                for path in folder.glob(left):  # by a run that was stopped
                    path.unlink()
            lock.free(part.number)


def _parts(
    records: Iterable[Record],
    folder: Path,
    shard: Shard,
    facts: Mapping[str, Any],
    size: int,
    resume: bool,
    lock: streams.Lock,
) -> Iterator[tuple[Part, list[Record], bool]]:
    """The shard's parts that are not there yet, held, with their records; whether an error cuts them off."""
    source = iter(records)
    number = skipped = 0
    while True:
        batch, error = _taken(source, size)
        if batch and number % shard.count == shard.index:
            part = Part(number, folder / f"part-{number:06}.parquet", _digest(batch))
            lock.hold(number, str(part.path))
            if part.path.exists():
                lock.free(number)
                _check(part, facts, resume)
                skipped += 1
            else:
                yield part, batch, error is not None
        if error is not None:
            raise error
        if not batch:
            break
        number += 1
    if skipped:
        log.info("%d finished parts of shard %s skipped", skipped, shard.name)
    later = folder / f"part-{number:06}.parquet"
    if later.exists():
        raise DataError("the input ends before this part", place=str(later), hint="another -o DIR")


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


def _check(part: Part, facts: Mapping[str, Any], resume: bool) -> None:
    if not resume:
        raise UsageError(
            "this part is there already", place=str(part.path), hint="--resume, or another -o DIR"
        )
    try:
        found = orjson.loads((pq.read_schema(part.path).metadata or {})[b"vlm2vec"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError("no part of vectors", place=str(part.path), hint="another -o DIR") from error
    if found.get("fingerprint") != facts["fingerprint"]:
        raise DataError(
            f"made by the model {found.get('fingerprint')}, not {facts['fingerprint']}",
            place=str(part.path),
            hint="the same model and options as before, or another -o DIR",
        )
    same = all(found.get(name) == facts[name] for name in ("precision", "dim", "normalize"))
    if found.get("input_digest") != part.digest or not same:
        raise DataError(
            "made from other input rows or options",
            place=str(part.path),
            hint="the same input, --precision and --part-rows as before, or another -o DIR",
        )
