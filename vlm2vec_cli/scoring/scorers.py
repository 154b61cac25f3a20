"""Exact scores of queries and candidates: float vectors in float64, int8 and binary ones in integers.

A score depends on the two vectors alone: neither block sizes nor the order of candidates nor threads change
it, and equal vectors tie exactly.

    float    the dot product in float64, rounded to float32 once
    int8     sum of q * c, an integer; cosine: over sqrt(sum of q * q) * sqrt(sum of c * c), in float64,
             rounded to float32 once
    binary   the same with numbers +1 and -1, so D - 2 * Hamming distance; cosine: over D

Integers go through the float32 matrix product, which is exact while every partial sum stays below 2^24:
1,040 products of int8 numbers, 16 million of signs. It is as fast as counting the bits of packed words with
numpy (both 0.2 s for 512 x 8,192 x 1,536 on one core) and uses all cores.

Q queries, N candidates, C those of a block, D dimensions, R ranks.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.nearest import Floats, Ints, Vectors
from vlm2vec_cli.scoring.matrix import Rows

Float64s = NDArray[np.float64]

COLUMN_BLOCK = 8192
MAX_GATHERED = 1 << 18  # numbers of gathered vectors held at once: 2 MB in float64, what caches hold
EXACT_DIM: Final = {"int8": 1024, "binary": 1 << 23}  # numbers whose products add up to less than 2^24


class Scorer(Protocol):
    """Two sides to compare; queries and candidates are rows of them."""

    def all(self, query_Q: Ints, candidates: slice | Ints = slice(None)) -> Floats:
        """Every score, shape (Q, N)."""
        ...

    def at(self, query_Q: Ints, index_QR: Ints) -> Floats:
        """The scores of the candidates in `index_QR` alone, shape (Q, R)."""
        ...


def scorer(rows_QD: Vectors, rows_ND: Vectors) -> Scorer:
    """In integers where both sides are int8 or binary, else in float64."""
    if isinstance(rows_QD, Rows) and isinstance(rows_ND, Rows) and rows_ND.precision != "float32":
        return IntegerScorer(rows_QD, rows_ND)
    return FloatScorer(rows_QD, rows_ND)


@dataclass(frozen=True)
class FloatScorer:
    """Float vectors."""

    rows_QD: Vectors
    rows_ND: Vectors

    def all(self, query_Q: Ints, candidates: slice | Ints = slice(None)) -> Floats:
        """Every score, shape (Q, N)."""
        query_DQ = self.rows_QD[query_Q].astype(np.float64).T
        parts = [
            (self.rows_ND[part].astype(np.float64) @ query_DQ).T.astype(np.float32)
            for part in _parts(candidates, len(self.rows_ND))
        ]
        return np.concatenate(parts, axis=1)

    def at(self, query_Q: Ints, index_QR: Ints) -> Floats:
        """The scores of the candidates in `index_QR` alone, shape (Q, R)."""
        score_QR = np.empty(index_QR.shape, np.float32)
        for part in _tiles(index_QR.shape, self.rows_ND.shape[1]):
            query_QD1 = self.rows_QD[query_Q[part[0]]].astype(np.float64)[:, :, None]
            score_QR[part] = (self.rows_ND[index_QR[part]].astype(np.float64) @ query_QD1)[:, :, 0]
        return score_QR


@dataclass(frozen=True)
class IntegerScorer:
    """int8 or binary vectors of one precision."""

    rows_QD: Rows
    rows_ND: Rows

    def all(self, query_Q: Ints, candidates: slice | Ints = slice(None)) -> Floats:
        """Every score, shape (Q, N)."""
        query_QD = self.rows_QD[query_Q]
        length_Q = self._lengths(query_QD)
        blocks = (self.rows_ND[part] for part in _parts(candidates, len(self.rows_ND)))
        return np.concatenate([self._block(query_QD, length_Q, block_CD) for block_CD in blocks], axis=1)

    def at(self, query_Q: Ints, index_QR: Ints) -> Floats:
        """The scores of the candidates in `index_QR` alone, shape (Q, R)."""
        score_QR = np.empty(index_QR.shape, np.float32)
        for part in _tiles(index_QR.shape, self.rows_ND.shape[1]):
            query_QD = self.rows_QD[query_Q[part[0]]]
            found_QRD = self.rows_ND[index_QR[part]]
            sum_QR = (found_QRD.astype(np.float64) @ query_QD.astype(np.float64)[:, :, None])[:, :, 0]
            score_QR[part] = sum_QR / (self._lengths(query_QD)[:, None] * self._lengths(found_QRD))
        return score_QR

    def _block(self, query_QD: Floats, length_Q: Float64s, block_CD: Floats) -> Floats:
        slices = self._slices(query_QD.shape[1])
        score_QC: Floats = query_QD[:, slices[0]] @ block_CD[:, slices[0]].T
        more = [query_QD[:, part] @ block_CD[:, part].T for part in slices[1:]]
        length_C = self._lengths(block_CD)
        step = max(1, MAX_GATHERED // len(block_CD))
        for top in range(0, len(query_QD), step):  # in tiles that caches hold
            some = slice(top, top + step)
            sum_QC = score_QC[some].astype(np.float64)
            for one in more:
                sum_QC += one[some]
            sum_QC /= length_Q[some, None] * length_C
            score_QC[some] = sum_QC
        return score_QC

    def _lengths(self, numbers: Floats) -> Float64s:
        """The lengths along the last axis; 1 for zeros, and for all where products are not to be divided."""
        if not self.rows_ND.unit:
            return np.ones(numbers.shape[:-1])
        square: Float64s = np.zeros(numbers.shape[:-1])
        for part in self._slices(numbers.shape[-1]):
            square += np.einsum("...d,...d->...", numbers[..., part], numbers[..., part])
        return np.sqrt(np.maximum(square, 1.0))

    def _slices(self, dim: int) -> list[slice]:
        """The dimensions in pieces whose float32 products are exact."""
        step = EXACT_DIM[self.rows_ND.precision]
        return [slice(start, start + step) for start in range(0, dim, step)]


def _parts(candidates: slice | Ints, num_candidates: int) -> list[slice] | list[Ints]:
    """The candidates in blocks."""
    if isinstance(candidates, slice):
        first, last, _ = candidates.indices(num_candidates)
        starts = range(first, max(last, first + 1), COLUMN_BLOCK)
        return [slice(start, min(start + COLUMN_BLOCK, last)) for start in starts]
    starts = range(0, max(len(candidates), 1), COLUMN_BLOCK)
    return [candidates[start : start + COLUMN_BLOCK] for start in starts]


def _tiles(shape: tuple[int, ...], dim: int) -> list[tuple[slice, slice]]:
    """Parts of a (Q, R) table whose candidates' numbers fit MAX_GATHERED."""
    width = max(1, min(shape[1], MAX_GATHERED // dim))
    height = max(1, MAX_GATHERED // (width * dim))
    return [
        (slice(top, top + height), slice(left, left + width))
        for top in range(0, shape[0], height)
        for left in range(0, shape[1], width)
    ]
