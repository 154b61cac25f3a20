"""What is searched, what is found, and in which order equal scores stand.

Order: score descending, then (ties="id") id descending, as trec_eval sorts. "pessimistic" puts the relevant
last among equal scores, "optimistic" first. Nothing ever prefers the relevant by its place in a pool.

Q queries, N candidates, D dimensions, R ranks; -1 fills the ends of short rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.nearest import Floats, Ints, Vectors

Ties = Literal["id", "optimistic", "pessimistic"]
Relevant = Callable[[Ints, Ints], NDArray[np.bool_]]  # queries (Q,), candidates (Q, R) -> (Q, R)


@dataclass(frozen=True, slots=True)
class Block:
    """Rankings of some queries: candidates best first and their scores."""

    query_Q: Ints
    index_QR: Ints
    score_QR: Floats
    num_ranked_Q: Ints  # how many candidates the query ranks, in the block or beyond its depth
    unique: bool  # no candidate stands twice in a row


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is searched: the vectors and, for ties, each candidate's place in the ascending order of ids."""

    rows_ND: Vectors
    tie_N: Ints
    ties: Ties = "id"
    relevant: Relevant | None = None  # needed unless ties is "id"


def by_id(ids: Sequence[str]) -> Ints:
    """Each id's place in ascending order (code points), shape (N,)."""
    place_N = np.empty(len(ids), np.int64)
    place_N[np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)] = np.arange(len(ids))
    return place_N


def order(score_QR: Floats, tie_QR: Ints, hit_QR: NDArray[np.bool_] | None, ties: Ties) -> Ints:
    """Positions that sort each row by the rule above; copies of one candidate keep their order."""
    return np.lexsort((*tie_keys(tie_QR, hit_QR, ties), -score_QR), axis=-1)


def tie_keys(tie_QR: Ints, hit_QR: NDArray[np.bool_] | None, ties: Ties) -> tuple[NDArray[np.generic], ...]:
    """What sorts equal scores, ascending, the last key first."""
    if ties == "id":
        return (-tie_QR,)
    assert hit_QR is not None
    return (-tie_QR, hit_QR if ties == "pessimistic" else ~hit_QR)


def packed(row_X: Ints, value_X: Ints, num_rows: int, fill: int = -1) -> Ints:
    """Values of ragged rows (`row_X` ascending) from the left in a rectangle, `fill` behind them."""
    length_Q = np.bincount(row_X, minlength=num_rows)
    packed_QR = np.full((num_rows, int(length_Q.max(initial=0))), fill, np.int64)
    first_Q = np.cumsum(length_Q) - length_Q
    packed_QR[row_X, np.arange(len(row_X)) - first_Q[row_X]] = value_X
    return packed_QR
