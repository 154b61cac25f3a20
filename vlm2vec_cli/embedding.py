"""Item rows to vector rows: same rows, same order, with the embedding added."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.encoder import Encoder, Input
from vlm2vec_cli.errors import UsageError, UserError
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.schemas.vector import VECTOR

PRECISIONS = ("float32", "float16", "int8", "binary")


def embed(
    records: Iterable[Record],
    encoder: Encoder,
    reject: Callable[[UserError], None],
    *,
    instruction: str | None = None,
    precision: str = "float32",
    keep: Collection[str] = (),
    drop: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """The vector row of each item row; a row whose media cannot be read goes to `reject`.

    `instruction` holds for rows that have none. `keep` names the only fields that stay beside id, dataset,
    role and embedding; `drop` names fields that go.
    """
    check_precision(precision, encoder.normalize)
    waiting: deque[dict[str, Any]] = deque()

    def inputs() -> Iterator[Input]:
        for record in records:
            row = record.row
            waiting.append(row)
            content = (
                row if instruction is None or "instruction" in row else {**row, "instruction": instruction}
            )
            yield Input(content, record.origin.media_root, record.place)

    for vector in encoder.encode(inputs(), reject):
        row = waiting.popleft()
        if vector is not None:
            yield {**_fields(row, keep, drop), "embedding": stored(vector, precision)}


def check_precision(precision: str, normalize: bool) -> None:
    """Raises UsageError for an unknown precision, and for int8 of vectors that may leave -1..1."""
    if precision not in PRECISIONS:
        raise UsageError(f"--precision: unknown {precision!r}", hint=f"one of {', '.join(PRECISIONS)}")
    if precision == "int8" and not normalize:
        raise UsageError("--precision int8 needs normalised vectors", hint="leave --no-normalize out")


def stored(vector: NDArray[np.float32], precision: str) -> NDArray[Any]:
    """The vector as it is written: int8 is round(127 x) of the unit vector, binary the packed signs (1 above
    0)."""
    if precision == "int8":
        return np.clip(np.rint(vector * 127), -127, 127).astype(np.int8)
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
