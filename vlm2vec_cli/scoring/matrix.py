"""Vectors of one side of a dataset, row by row: in memory up to a budget, beyond it in a temporary file.

D embedding dimension, N rows.
"""

import tempfile
from io import BytesIO
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError

Similarity = Literal["cosine", "dot"]
MEMORY_BYTES = 1 << 30


class Budget:
    """Bytes of vectors that may stay in memory, over all matrices that share it."""

    def __init__(self, num_bytes: int = MEMORY_BYTES) -> None:
        self.left = num_bytes


class Matrix:
    """Float32 rows; for cosine similarity of length 1 as soon as they are in."""

    def __init__(self, budget: Budget, similarity: Similarity) -> None:
        self.num_rows = 0
        self.dim = 0
        self.all_equal = True
        self._similarity = similarity
        self._budget = budget
        self._file: IO[bytes] = BytesIO()
        self._on_disk = False
        self._first = b""

    def append(self, embedding: NDArray[np.generic]) -> None:
        """Adds one row (D,): float32, int8 (taken as numbers) or uint8 (bits, each +1 or -1).

        DataError without a place for another dimension than the rows before, a number that is not finite,
        and, under cosine, a vector of length 0.
        """
        row_D = _as_float32(embedding)
        if self.num_rows and len(row_D) != self.dim:
            raise DataError(f"embedding has {len(row_D)} dimensions, the rows before have {self.dim}")
        if not np.isfinite(row_D).all():
            raise DataError("embedding holds a number that is not finite (NaN or infinity)")
        if self._similarity == "cosine":
            length = float(np.linalg.norm(row_D.astype(np.float64)))
            if length == 0:
                raise DataError(
                    "embedding has length 0, so it has no cosine", hint="--similarity dot takes it"
                )
            row_D = (row_D / length).astype(np.float32)
        data = row_D.tobytes()
        if not self.num_rows:
            self.dim, self._first = len(row_D), data
        self.all_equal = self.all_equal and data == self._first
        if not self._on_disk and len(data) > self._budget.left:
            self._move_to_disk()
        if not self._on_disk:
            self._budget.left -= len(data)
        self._file.write(data)
        self.num_rows += 1

    def rows_ND(self) -> NDArray[np.float32]:
        """All rows, without a copy; of a matrix on disk the pages that are read."""
        if isinstance(self._file, BytesIO):
            return np.frombuffer(self._file.getbuffer(), np.float32).reshape(self.num_rows, self.dim)
        self._file.flush()
        return np.memmap(self._file, np.float32, mode="r", shape=(self.num_rows, self.dim))

    def close(self) -> None:
        """Frees memory or file; arrays of `rows_ND` must not be in use any more."""
        if not self._on_disk:
            self._budget.left += self.num_rows * self.dim * 4
        else:
            self._file.close()
        self._file = BytesIO()
        self.num_rows = 0

    def _move_to_disk(self) -> None:
        file = tempfile.TemporaryFile(prefix="vlm2vec-")  # noqa: SIM115  # closed in close()
        assert isinstance(self._file, BytesIO)
        file.write(self._file.getbuffer())
        self._budget.left += self.num_rows * self.dim * 4
        self._file, self._on_disk = file, True


def _as_float32(embedding: NDArray[np.generic]) -> NDArray[np.float32]:
    if embedding.dtype == np.uint8:
        return np.unpackbits(embedding.view(np.uint8)).astype(np.float32) * 2 - 1
    return embedding.astype(np.float32, copy=False)
