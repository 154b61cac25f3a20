"""Vectors as a folder of numbered part files: by shards, and resumable.

Part k holds the vectors of input rows k * size to (k + 1) * size, whoever made it, so that all parts in the
order of their names are the whole output. Shard i of n makes the parts whose number is i modulo n. A part has
its name only once it is complete, and records the fingerprint of the model and the digest of its input rows.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby, islice
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

    path: Path
    digest: str


def write(
    records: Iterable[Record],
    embed: Callable[[Iterator[Record]], Iterable[Row | None]],
    folder: Path,
    shard: Shard,
    facts: Mapping[str, Any],
    *,
    size: int,
    resume: bool,
) -> None:
    """Makes the shard's parts in `folder`. `embed` gives a row or None for each record, in order.

    Raises UsageError for parts that are there already without `resume`, DataError for parts of another model
    or input.
    """
    owners: deque[Part] = deque()

    def wanted() -> Iterator[Record]:
        for part, batch in _parts(records, folder, shard, facts, size, resume):
            for record in batch:
                owners.append(part)
                yield record

    owned = ((owners.popleft(), row) for row in embed(wanted()))
    for part, rows in groupby(owned, key=lambda pair: pair[0]):
        found = {**facts, "input_digest": part.digest}
        streams.write_file(str(part.path), (row for _, row in rows if row is not None), VECTOR, found)
        for left in (f"{part.path.name}.partial", f".{part.path.name}.*.tmp"):  # by a run that was stopped
            for path in folder.glob(left):
                path.unlink()


def _parts(
    records: Iterable[Record], folder: Path, shard: Shard, facts: Mapping[str, Any], size: int, resume: bool
) -> Iterator[tuple[Part, list[Record]]]:
    """The shard's parts that are not there yet, with their records."""
    source = iter(records)
    number = skipped = 0
    while True:
        batch, error = _taken(source, size)
        if batch and number % shard.count == shard.index:
            part = Part(folder / f"part-{number:06}.parquet", _digest(batch))
            if part.path.exists():
                _check(part, facts, resume)
                skipped += 1
            else:
                yield part, batch
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
