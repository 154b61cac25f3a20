"""Vectors of one side of a dataset, as they arrive: in memory up to a budget, beyond it in a temporary file.

Rows stay as they came, float32, int8 or packed bits, and are decoded in the blocks that are looked at.

D embedding dimension, N rows.
"""

import tempfile
from dataclasses import dataclass, replace
from io import BytesIO
from typing import IO, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError

Similarity = Literal["cosine", "dot"]
Precision = Literal["float32", "int8", "binary"]
MEMORY_BYTES = 1 << 30
WRITTEN_AT_ONCE = 256
SCALED_AT_ONCE = 64  # rows that stay in the processor's cache as float64
STORED: Final[dict[str, Precision]] = {"int8": "int8", "uint8": "binary"}
"""The precision that a stored number type means; all others are float32."""
SIGNS: Final = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) * 2 - 1
"""What a byte of packed bits means: eight numbers, each +1 or -1."""


class Budget:
    """Bytes of vectors that may stay in memory, over all matrices that share it."""

    def __init__(self, num_bytes: int = MEMORY_BYTES) -> None:
        self.left = num_bytes


@dataclass(frozen=True, slots=True)
class Rows:
    """Stored rows as search sees them: float32 of shape (N, dim), decoded where they are asked for.

    A row is cut to its first `dim` numbers, then rounded to `precision` as `embed` rounds. Float rows have
    length 1 with `unit`, cut ones too; int8 rows are whole numbers and binary ones +1 and -1, whatever their
    length, so cut and rounded rows compare as if they had been embedded so.
    """

    stored: NDArray[Any]
    dim: int
    unit: bool
    precision: Precision

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and dimensions."""
        return len(self.stored), self.dim

    @property
    def full_dim(self) -> int:
        """The dimensions that are stored."""
        return int(self.stored.shape[1]) * (8 if self.stored.dtype == np.uint8 else 1)

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        """The rows at a slice or an array of any shape; without a copy where there is nothing to decode."""
        found: NDArray[Any] = self.stored[index]
        cut = self.dim < self.full_dim
        if found.dtype == np.float32 and not cut and self.precision == "float32":
            return found  # of length 1 already, see Matrix.append
        if found.dtype == np.uint8:
            signs: NDArray[np.float32] = SIGNS.take(found, axis=0)
            return signs.reshape(*found.shape[:-1], -1)[..., : self.dim]
        found = found[..., : self.dim]
        if found.dtype == np.float32:
            if cut and self.unit:
                found = of_length_1(found)
            if self.precision == "int8":
                found = _in_127_steps(found)
            elif self.precision == "binary":
                found = np.where(found > 0, 1, -1)
        return found.astype(np.float32, copy=False)

    def seen_as(self, dim: int | None, precision: Precision | None) -> "Rows":
        """The same rows cut and rounded; both None: as they are. DataError for what they cannot be."""
        if dim is not None and dim > self.full_dim:
            raise DataError(f"vectors have {self.full_dim} dimensions, --dim asks for {dim}")
        if precision is not None and precision != self.precision:
            if self.precision != "float32":
                raise DataError(f"vectors are {self.precision}, --precision asks for {precision}")
            if not self.unit:
                raise DataError("only vectors of length 1 can be rounded", hint="leave --similarity dot out")
        return replace(self, dim=dim or self.dim, precision=precision or self.precision)


class Matrix:
    """Rows of one number type; float32 ones under cosine are given length 1."""

    def __init__(self, budget: Budget, similarity: Similarity) -> None:
        self.num_rows = 0
        self.dim = 0
        self._similarity = similarity
        self._budget = budget
        self._file: IO[bytes] = BytesIO()
        self._on_disk = False
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self._num_bytes = 0
        self._waiting: list[NDArray[Any]] = []
        self._num_waiting = 0
        self._first_D: NDArray[Any] | None = None
        self._all_equal = True

    @property
    def all_equal(self) -> bool:
        """Whether every row is the first one."""
        self._write()
        return self._all_equal

    def append(self, embeddings: NDArray[np.generic]) -> None:
        """Adds rows (N, D): float32, int8 (taken as numbers) or uint8 (bits, each +1 or -1).

        DataError without a place, and nothing is added, for another dimension or number type than the rows
        before, a number that is not finite, and, under cosine, a vector of length 0.
        """
        block_ND = embeddings
        if block_ND.dtype.name not in STORED:
            self._check(block_ND := block_ND.astype(np.float32, copy=False))
        elif block_ND.dtype == np.int8 and self._similarity == "cosine" and not block_ND.any(axis=1).all():
            raise _no_length()
        dim = block_ND.shape[1] * (8 if block_ND.dtype == np.uint8 else 1)
        if not self.num_rows:
            self.dim, self._dtype = dim, block_ND.dtype
        elif block_ND.dtype != self._dtype:
            names = (STORED.get(one.name, "float32") for one in (block_ND.dtype, self._dtype))
            raise DataError("embedding is {}, those of the rows before are {}".format(*names))
        elif dim != self.dim:
            raise DataError(f"embedding has {dim} dimensions, the rows before have {self.dim}")
        if not self._on_disk and block_ND.nbytes > self._budget.left:
            self._move_to_disk()
        if not self._on_disk:
            self._budget.left -= block_ND.nbytes
        self._num_bytes += block_ND.nbytes
        self.num_rows += len(block_ND)
        self._waiting.append(block_ND)
        self._num_waiting += len(block_ND)
        if self._num_waiting >= WRITTEN_AT_ONCE:
            self._write()

    def rows(self) -> Rows:
        """All rows, without a copy; of a matrix on disk the pages that are read."""
        self._write()
        stored: NDArray[Any]
        if isinstance(self._file, BytesIO):
            stored = np.frombuffer(self._file.getbuffer(), self._dtype).reshape(self.num_rows, -1)
        else:
            self._file.flush()
            stored = np.memmap(self._file, self._dtype, mode="r").reshape(self.num_rows, -1)
        precision = STORED.get(self._dtype.name, "float32")
        return Rows(stored, self.dim, self._similarity == "cosine", precision)

    def close(self) -> None:
        """Frees memory or file; arrays of `rows` must not be in use any more."""
        if not self._on_disk:
            self._budget.left += self._num_bytes
        else:
            self._file.close()
        self._file = BytesIO()
        self._waiting = []
        self.num_rows = self._num_bytes = self._num_waiting = 0

    def _check(self, block_ND: NDArray[np.float32]) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            square_N = np.einsum("nd,nd->n", block_ND, block_ND)
        if ((square_N > 0) & (square_N < np.inf)).all():  # true of almost all, and quick to see
            return
        if not np.isfinite(block_ND).all():
            raise DataError("embedding holds a number that is not finite (NaN or infinity)")
        if self._similarity == "cosine" and not block_ND.any(axis=1).all():
            raise _no_length()

    def _write(self) -> None:
        if not self._waiting:
            return
        block_ND = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting, self._num_waiting = [], 0
        if self._first_D is None:
            self._first_D = self._as_kept(block_ND[:1])[0]
        for start in range(0, len(block_ND), SCALED_AT_ONCE):
            kept_ND = self._as_kept(block_ND[start : start + SCALED_AT_ONCE])
            self._all_equal = self._all_equal and bool((kept_ND == self._first_D).all())
            self._file.write(np.ascontiguousarray(kept_ND).data)

    def _as_kept(self, block_ND: NDArray[Any]) -> NDArray[Any]:
        scaled = self._dtype == np.float32 and self._similarity == "cosine"
        return of_length_1(block_ND) if scaled else block_ND

    def _move_to_disk(self) -> None:
        file = tempfile.TemporaryFile(prefix="vlm2vec-")  # noqa: SIM115  # closed in close()
        assert isinstance(self._file, BytesIO)
        file.write(self._file.getbuffer())
        self._budget.left += self._num_bytes
        self._file, self._on_disk = file, True


def _no_length() -> DataError:
    return DataError("embedding has length 0, so it has no cosine", hint="--similarity dot takes it")


def _in_127_steps(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """As `embed --precision int8` stores them: each vector in steps of 1/127 of its largest number."""
    largest = np.abs(rows).max(axis=-1, keepdims=True, initial=1e-12)
    return np.asarray(np.rint(rows * (127 / largest)))


def of_length_1(rows: NDArray[Any]) -> NDArray[np.float32]:
    """The vectors along the last axis, divided by their lengths; a vector of zeros stays one."""
    exact = rows.astype(np.float64)
    length = np.sqrt(np.square(exact).sum(axis=-1, keepdims=True))
    unit: NDArray[np.float32] = (exact / np.where(length > 0, length, 1)).astype(np.float32)
    return unit
