"""Which of the targets near a query become its candidates: rank window, scores, margins.

Names, defaults and order are those of sentence-transformers' `mine_hard_negatives`. Its depth counts a
query's positives: the nearest range_max + P targets are looked at, P being the largest number of pairs that
share a query. What the filters leave is cut to the places range_min..range_max.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.mining.known import POSITIVE, RULES, SAME_QUERY
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.nearest import Floats, Ints

FILTERS = ("absolute_margin", "relative_margin", "max_score", "min_score")
REASONS = ("candidate", *RULES, *FILTERS, "range_min", "rescore", "beyond")
CANDIDATE, BEYOND = 0, len(REASONS) - 1
RESCORE = REASONS.index("rescore")
TOO_NEAR = tuple(REASONS.index(name) for name in (*FILTERS[:3], "range_min", "rescore"))


@dataclass(frozen=True)
class Window:
    """For targets (Q, K), best first: `reasons` they are not candidates (0: they are), `ranks` from 1.

    A rank counts the targets that no rule of `known` forbids.
    """

    reasons: Ints
    ranks: Ints


def window(
    scores: Floats,
    verdicts: Ints,
    positive: Floats,
    settings: Settings,
    *,
    range_max: int,
    most_positives: int,
) -> Window:
    """Judges targets by their `scores` (Q, K), -inf where there is none, and what `known` says of them.

    `positive` (Q,) is the score that margins are measured from.
    """
    there = scores > -np.inf
    answers = (verdicts == POSITIVE) | (verdicts == SAME_QUERY)
    counted = there & ((verdicts == CANDIDATE) | answers)
    depth = np.cumsum(counted, axis=1)
    reasons = np.where(there & (depth - counted < range_max + most_positives), verdicts, BEYOND)
    ranks = np.cumsum(reasons == CANDIDATE, axis=1)
    for name in FILTERS:
        limit = getattr(settings, name)
        if limit is not None:
            refused = _REFUSED[name](scores, positive[:, None], np.float32(limit))
            reasons[(reasons == CANDIDATE) & refused] = REASONS.index(name)
    places = np.cumsum(reasons == CANDIDATE, axis=1)
    reasons[(reasons == CANDIDATE) & (places <= settings.range_min)] = REASONS.index("range_min")
    reasons[(reasons == CANDIDATE) & (places > range_max)] = BEYOND
    return Window(reasons, ranks)


def too_near(scores: Floats, positive: np.float32, settings: Settings) -> NDArray[np.bool_]:
    """Whether a maximum or margin refuses these scores (n,) for a query whose positive scores `positive`."""
    refused = np.zeros(scores.shape, dtype=bool)
    for name in FILTERS[:3]:
        limit = getattr(settings, name)
        if limit is not None:
            refused |= _REFUSED[name](scores, positive, np.float32(limit))
    return refused


_REFUSED: dict[str, Callable[..., NDArray[np.bool_]]] = {
    "absolute_margin": lambda scores, positive, limit: scores + limit > positive,
    "relative_margin": lambda scores, positive, limit: scores > positive - np.abs(positive) * limit,
    "max_score": lambda scores, positive, limit: scores > limit,
    "min_score": lambda scores, positive, limit: scores < limit,
}
