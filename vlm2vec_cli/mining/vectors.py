"""Vectors of units, of length 1, in a temporary file; read from files in `given`, made in `encoding`."""

import os
import tempfile
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.mining.stock import Units, numbers
from vlm2vec_cli.nearest import Floats, Ints, unit_rows
from vlm2vec_cli.schemas.base import Row

WRITTEN_AT_ONCE = 1024
SCALED_AT_ONCE = 256  # rows that stay in the processor's cache as float64
SAME_COSINE = 0.99  # below it two vectors for one content are a contradiction, not rounding


class Vectors:
    """The vectors of a run: one maker, one dimension. `append` gives each a row of `matrix`."""

    def __init__(self, *, allow_mixed: bool = False) -> None:
        self._file = tempfile.TemporaryFile(prefix="vlm2vec-")  # noqa: SIM115  # lives as long as the run
        self._waiting = np.empty((0, 0), dtype=np.float32)
        self._num_waiting = 0
        self.allow_mixed = allow_mixed
        self._maker: tuple[str, str] | None = None
        self.dim = self.num_rows = 0

    def append(self, embeddings: Floats) -> int:
        """Takes vectors (N, D) and returns the row of the first.

        DataError without a place, and nothing is taken, for a wrong dimension, zeros, or no number.
        """
        dim = embeddings.shape[1]
        if self.dim and dim != self.dim:
            raise DataError(f"embedding has {dim} dimensions, the rows before have {self.dim}")
        self._check(embeddings)
        if not self.dim:
            self.dim = dim
            self._waiting = np.empty((WRITTEN_AT_ONCE, self.dim), dtype=np.float32)
        taken = 0
        while taken < len(embeddings):
            some = embeddings[taken : taken + WRITTEN_AT_ONCE - self._num_waiting]
            self._waiting[self._num_waiting : self._num_waiting + len(some)] = some
            self._num_waiting += len(some)
            taken += len(some)
            if self._num_waiting == WRITTEN_AT_ONCE:
                self._write()
        self.num_rows += len(embeddings)
        return self.num_rows - len(embeddings)

    def _check(self, embeddings: Floats) -> None:
        wide = embeddings.astype(np.float32, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("nd,nd->n", wide, wide)
        if not ((squares > 0) & (squares < np.inf)).all():  # too small or large to square, or wrong
            if not np.isfinite(wide).all():
                raise DataError("embedding holds a number that is not finite (NaN or infinity)")
            if not wide.any(axis=1).all():
                raise DataError("embedding has length 0, so it has no cosine")

    def _write(self) -> None:
        for start in range(0, self._num_waiting, SCALED_AT_ONCE):
            some = self._waiting[start : min(start + SCALED_AT_ONCE, self._num_waiting)]
            self._file.write(unit_rows(some).data)
        self._num_waiting = 0
        self._file.flush()

    def check_maker(self, row: Row, place: str) -> None:
        """DataError unless fingerprint (or model, where there is none) are those of the rows before."""
        what = "fingerprint" if row.get("fingerprint") else "model"
        maker = (what, str(row.get(what) or "missing"))
        self._maker = self._maker or maker
        if maker != self._maker and not self.allow_mixed:
            raise DataError(
                f"{maker[0]} {maker[1]} differs from {' '.join(self._maker)} of the rows before",
                place=place,
                hint="embed both sides with the same model and options, or --allow-mixed-fingerprints",
            )

    def cosine(self, row: int, embedding: Floats) -> float:
        """The cosine of a stored vector and another; -1 where they do not compare at all."""
        if len(embedding) != self.dim or not embedding.any():
            return -1.0
        self._write()
        stored = np.frombuffer(os.pread(self._file.fileno(), 4 * self.dim, 4 * self.dim * row), np.float32)
        return float(unit_rows(embedding[None])[0] @ stored)

    def matrix(self) -> Floats:
        """All vectors (n, D), mapped from the file."""
        if not self.num_rows:
            return np.empty((0, 1), dtype=np.float32)
        self._write()
        return np.memmap(self._file, np.float32, mode="r", shape=(self.num_rows, self.dim))

    def close(self) -> None:
        """Gives the space back; `matrix` must not be in use any more."""
        self._file.close()


class Side:
    """Units of one role and the row of each one's vector in `vectors`; `errors` says why a unit has none."""

    def __init__(self, role: str, units: Units, vectors: Vectors) -> None:
        self.role, self.units, self.vectors = role, units, vectors
        self.errors: dict[int, UserError] = {}
        self._rows = numbers()
        self._places: dict[int, str] = {}

    def put(
        self,
        units: Sequence[int],
        embeddings: NDArray[Any],
        place: Callable[[int], str],
        reject: Callable[[int, DataError], None],
    ) -> None:
        """The vectors (N, D) of `units` (N,): float or int8 numbers, or uint8, packed signs.

        `place` says where each stands. `reject` is told of each that contradicts the one its unit has. Where
        one cannot be taken at all, DataError, and none is.
        """
        if embeddings.dtype == np.uint8:
            embeddings = np.unpackbits(embeddings, axis=1).astype(np.float32) * 2 - 1
        rows = self.rows
        fresh = {unit: at for at, unit in reversed(list(enumerate(units))) if rows[unit] < 0}
        first = sorted(fresh.values())
        if first:
            start = self.vectors.append(embeddings if len(first) == len(units) else embeddings[first])
            for row, at in enumerate(first, start):
                rows[units[at]] = row
                self._places[units[at]] = place(at)
        if len(first) == len(units):
            return
        for at, unit in enumerate(units):
            if fresh.get(unit) != at and self.vectors.cosine(rows[unit], embeddings[at]) < SAME_COSINE:
                fact = f"embedding differs from that of {self._places[unit]} for the same content"
                reject(at, DataError(fact))

    def put_one(self, unit: int, embedding: Floats, place: str) -> None:
        """The vector (D,) of a unit that has none; DataError where it cannot be taken."""
        rows = self.rows
        rows[unit] = self.vectors.append(embedding[None])
        self._places[unit] = place

    @property
    def rows(self) -> "array[int]":
        """Each unit's row, -1 where it has none."""
        new = len(self.units) - len(self._rows)
        if new:
            self._rows.extend([-1] * new)
        return self._rows

    def index(self) -> Ints:
        """`rows` as an array."""
        return np.array(self.rows, dtype=np.int64)

    def missing(self) -> list[int]:
        """The units without a vector, in order."""
        return [unit for unit, row in enumerate(self.rows) if row < 0]

    def by_literal(self) -> dict[bytes, list[int]]:
        """The units by their content as written."""
        found: dict[bytes, list[int]] = {}
        for unit, literal in enumerate(self.units.literals):
            found.setdefault(literal, []).append(unit)
        return found
