"""The rows of several files in turn, one by one or many at a time; bad ones go to `reject` with their place.

Numbers for default ids and the `limit`, None for none, count through all files.
"""

import contextlib
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.schemas.base import Kind, Origin, Record, Row
from vlm2vec_cli.streams.batches import Batch, Gathering
from vlm2vec_cli.streams.reading import Stretch, parsed

Stretches = Generator[Stretch, None, None]  # of one file, which it opens when the first is asked for
Reject = Callable[[UserError, Row | bytes], None]  # raises the error or notes it


def records(
    files: Iterable[Stretches], kinds: tuple[Kind, ...], limit: int | None, reject: Reject
) -> Iterator[Record]:
    """Every row as a record."""
    count = 0
    for file in files:
        with contextlib.closing(file) as stretches:
            for stretch in stretches:
                for number, row in stretch.rows:
                    count += 1
                    try:
                        record = parsed(stretch.origin, number, row, kinds, str(count))
                    except DataError as error:
                        reject(_at(stretch.origin, number, error), row)
                    else:
                        yield record
                    if count == limit:
                        return


def batches(
    files: Iterable[Stretches], kinds: tuple[Kind, ...], limit: int | None, reject: Reject
) -> Iterator[Batch]:
    """The same rows in batches; of a bad row is told when the rows before it have been taken."""
    count, left = 0, sys.maxsize if limit is None else limit
    for file in files:
        with contextlib.closing(file) as stretches:
            for stretch in stretches:
                batch = stretch.batch(kinds, count + 1)
                if batch is None:
                    taken = yield from _gathered(stretch, kinds, count, left, reject)
                else:
                    taken = min(len(batch), left)
                    yield batch.part(0, taken)
                count += taken
                left -= taken
                if not left:
                    return


def _gathered(
    stretch: Stretch, kinds: tuple[Kind, ...], count: int, limit: int, reject: Reject
) -> Generator[Batch, None, int]:
    """The rows parsed one by one, in batches; returns how many there were, `limit` at most."""
    gathering = Gathering()
    taken = 0
    try:
        for number, row in islice(stretch.rows, limit):
            taken += 1
            try:
                record = parsed(stretch.origin, number, row, kinds, str(count + taken))
                yield from gathering.add(record)
            except DataError as error:
                yield from gathering.rest()  # an error of theirs comes first
                reject(_at(stretch.origin, number, error), row)
    except UserError:
        yield from gathering.rest()
        raise
    yield from gathering.rest()
    return taken


def _at(origin: Origin, number: int, error: DataError) -> UserError:
    return error.at(f"{origin.name} {origin.unit} {number}")
