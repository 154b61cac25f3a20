"""Item rows to vector rows: same rows, same order, with the embedding added."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.encoder import Encoder, Input
from vlm2vec_cli.encoder import check as compare
from vlm2vec_cli.errors import UsageError, UserError
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.schemas.vector import VECTOR

log = logging.getLogger(__name__)

CHECK_AMONG = 20  # --check N draws its rows from so many times N
# How a vector becomes what is written. Nothing depends on other vectors, so shards and runs go together, and
# cosines need nothing but the numbers as they stand.
CALIBRATION = {
    "float32": None,
    "float16": None,
    "int8": "round(127 * x / max(abs(x))) of each vector; compare by cosine",
    "binary": "bit 1 where x > 0, first number in the highest bit; compare by Hamming distance",
}
PRECISIONS = tuple(CALIBRATION)


def embed(
    records: Iterable[Record], encoder: Encoder, reject: Callable[[UserError], None], **options: Any
) -> Iterator[dict[str, Any]]:
    """The vector row of each item row whose media can be read; options as for `embed_each`."""
    return (row for row in embed_each(records, encoder, reject, **options) if row is not None)


def embed_each(
    records: Iterable[Record | None],
    encoder: Encoder,
    reject: Callable[[UserError], None],
    *,
    instruction: str | None = None,
    precision: str = "float32",
    keep: Collection[str] = (),
    drop: Collection[str] = (),
) -> Iterator[dict[str, Any] | None]:
    """The vector row of each item row; None for one whose media cannot be read, which goes to `reject`.

    A None among the records gives nothing and ends what is computed together; see `Encoder.encode`.

    `instruction` holds for rows that have none. `keep` names the only fields that stay beside id, dataset,
    role and embedding; `drop` names fields that go.
    """
    check_precision(precision, encoder.normalize)
    waiting: deque[dict[str, Any]] = deque()

    def inputs() -> Iterator[Input | None]:
        for record in records:
            if record is None:
                yield None
                continue
            waiting.append(record.row)
            yield _input(record, instruction)

    for vector in encoder.encode(inputs(), reject):
        row = waiting.popleft()
        if vector is None:
            yield None
        else:
            yield {**_fields(row, keep, drop), "embedding": stored(vector, precision)}


def check(
    records: Sequence[Record], number: int, encoder: Encoder, *, instruction: str | None, seed: int
) -> None:
    """Compares the engine with stock transformers on `number` of the records and says what it found.

    Raises UnavailableError where they differ, DataError without a row to compare; see `encoder.check`.
    """
    chosen = random.Random(seed).sample(range(len(records)), min(number, len(records)))
    found = compare(encoder, [_input(records[at], instruction) for at in sorted(chosen)])
    log.info(
        "check of %d rows: largest deviation %.1e (%s)",
        len(chosen),
        max(found.values()),
        ", ".join(f"{name} {value:.1e}" for name, value in found.items()),
    )


def _input(record: Record, instruction: str | None) -> Input:
    row = record.row
    if instruction is not None and "instruction" not in row:
        row = {**row, "instruction": instruction}
    return Input(row, record.origin.media_root, record.place)


def check_precision(precision: str, normalize: bool) -> None:
    """Raises UsageError for an unknown precision, and for int8 of vectors that may leave -1..1."""
    if precision not in PRECISIONS:
        raise UsageError(f"--precision: unknown {precision!r}", hint=f"one of {', '.join(PRECISIONS)}")
    if precision == "int8" and not normalize:
        raise UsageError("--precision int8 needs normalised vectors", hint="leave --no-normalize out")


def stored(vector: NDArray[np.float32], precision: str) -> NDArray[Any]:
    """The vector as it is written; see `CALIBRATION`."""
    if precision == "int8":
        scaled: NDArray[np.float32] = np.rint(vector * (127 / np.abs(vector).max(initial=1e-12)))
        return scaled.astype(np.int8)
    if precision == "binary":
        return np.packbits(vector > 0)
    return vector.astype(precision)


def _fields(row: dict[str, Any], keep: Collection[str], drop: Collection[str]) -> dict[str, Any]:
    own = ("id", "dataset", "role")
    gone = {"schema", "embedding", *VECTOR.file_fields, *drop}
    return {
        name: value
        for name, value in row.items()
        if name not in gone and (not keep or name in keep or name in own)
    }
