"""Vectors of units, of length 1, in a temporary file; read from files here, made by a model in `encoding`.

A vector row belongs to every query (role query) or target (role candidate) whose text, image, video and
instruction are equal to its own as written. Ids and datasets play no part: one content, one vector.
"""

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable

import numpy as np

from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.mining.identity import literal_key
from vlm2vec_cli.mining.stock import Units, numbers
from vlm2vec_cli.nearest import Floats, Ints, unit_rows
from vlm2vec_cli.schemas.base import Record, Row

WRITTEN_AT_ONCE = 1024
SAME_COSINE = 0.99  # below it two vectors for one content are a contradiction, not rounding
OTHER_ROLE = {"query": "candidate", "candidate": "query"}


class Vectors:
    """The vectors of a run: one maker, one dimension. `append` gives each a row of `matrix`."""

    def __init__(self, *, allow_mixed: bool = False) -> None:
        self._file = tempfile.TemporaryFile(prefix="vlm2vec-")  # noqa: SIM115  # lives as long as the run
        self._waiting = np.empty((0, 0), dtype=np.float32)
        self._num_waiting = 0
        self._allow_mixed = allow_mixed
        self._maker: tuple[str, str] | None = None
        self.dim = self.num_rows = 0

    def append(self, embedding: Floats) -> int:
        """Takes one vector (D,); DataError without a place for a wrong dimension, zeros, or no number."""
        if self.dim and len(embedding) != self.dim:
            raise DataError(f"embedding has {len(embedding)} dimensions, the rows before have {self.dim}")
        if not 0 < float(embedding @ embedding) < np.inf:  # too small or large to square, or wrong
            if not np.isfinite(embedding).all():
                raise DataError("embedding holds a number that is not finite (NaN or infinity)")
            if not embedding.any():
                raise DataError("embedding has length 0, so it has no cosine")
        if not self.dim:
            self.dim = len(embedding)
            self._waiting = np.empty((WRITTEN_AT_ONCE, self.dim), dtype=np.float32)
        self._waiting[self._num_waiting] = embedding
        self._num_waiting += 1
        if self._num_waiting == WRITTEN_AT_ONCE:
            self._write()
        self.num_rows += 1
        return self.num_rows - 1

    def _write(self) -> None:
        if self._num_waiting:
            self._file.write(unit_rows(self._waiting[: self._num_waiting]).data)
            self._num_waiting = 0
            self._file.flush()

    def check_maker(self, row: Row, place: str) -> None:
        """DataError unless fingerprint (or model, where there is none) are those of the rows before."""
        what = "fingerprint" if row.get("fingerprint") else "model"
        maker = (what, str(row.get(what) or "missing"))
        self._maker = self._maker or maker
        if maker != self._maker and not self._allow_mixed:
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

    def put(self, unit: int, embedding: Floats, place: str) -> None:
        """The vector of `unit`; DataError when it contradicts the one that the unit has.

        Float or int8 numbers, or uint8: packed signs.
        """
        if embedding.dtype == np.uint8:
            embedding = np.unpackbits(embedding.view(np.uint8)).astype(np.float32) * 2 - 1
        rows = self.rows
        if rows[unit] < 0:
            rows[unit] = self.vectors.append(embedding)
            self._places[unit] = place
        elif self.vectors.cosine(rows[unit], embedding) < SAME_COSINE:
            raise DataError(f"embedding differs from that of {self._places[unit]} for the same content")

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


def from_rows(
    records: Iterable[Record], sides: Iterable[Side], reject: Callable[[UserError], None], name: str
) -> None:
    """Gives the units of `sides` their vectors out of vector rows; `name` is the file, for messages."""
    side_of = {side.role: side for side in sides}
    wanted = {role: side.by_literal() for role, side in side_of.items()}
    misplaced: set[tuple[str, bytes]] = set()
    for record in records:
        role, literal = record.row["role"], literal_key(record.row)
        other = OTHER_ROLE[role]
        if literal in wanted.get(other, ()):
            misplaced.add((other, literal))
        units = wanted.get(role, {}).get(literal, ())
        if units:
            side_of[role].vectors.check_maker(record.row, record.place)
        try:
            for unit in units:
                side_of[role].put(unit, record.row["embedding"], record.place)
        except DataError as error:
            reject(error.at(record.place))
    for role, side in side_of.items():
        for unit in side.missing():
            side.errors[unit] = _absent(name, role, (role, side.units.literals[unit]) in misplaced)


def _absent(name: str, role: str, misplaced: bool) -> DataError:
    hint = f"wanted: a row of role {role} with the same text, image, video and instruction"
    if misplaced:
        hint = f'a row of role {OTHER_ROLE[role]} has this content: give it "role": "{role}"'
    return DataError(f"no vector in {name}", hint=hint)
