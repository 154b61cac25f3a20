from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.mining.known import verdicts
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.mining.window import REASONS, too_near, window

LIMITS = st.one_of(st.none(), st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75]))
SHARES = st.one_of(st.none(), st.sampled_from([0.0, 0.05, 0.5, 1.0]))


def settings(**options: Any) -> Settings:
    return Settings(vectors="v.parquet", **options)


def judged(
    scores: list[float], positive: float, forbidden: dict[int, int] | None = None, **options: Any
) -> list[str]:
    """The reason of each target 0, 1, ... of one query, best first."""
    asked = settings(**options)
    targets = np.arange(len(scores))[None]
    found = window(
        np.array([scores], np.float32),
        verdicts([forbidden or {}], targets),
        np.array([positive], np.float32),
        asked,
        range_max=asked.resolved_range_max(1),
        most_positives=1,
    )
    return [REASONS[reason] for reason in found.reasons[0]]


def test_without_limits_the_nearest_are_candidates() -> None:
    assert judged([0.9, 0.8, 0.7], 0.9, {0: 1}) == ["positive", "candidate", "candidate"]


def test_a_relative_margin_of_0_05_keeps_what_scores_below_95_percent_of_the_positive() -> None:
    scores = [0.9, 0.762, 0.759, 0.5]
    assert judged(scores, 0.8, relative_margin=0.05) == [
        "relative_margin",
        "relative_margin",
        "candidate",
        "candidate",
    ]


def test_a_relative_margin_of_a_negative_positive_asks_for_less_still() -> None:
    assert judged([-0.1, -0.205, -0.3], -0.2, relative_margin=0.05)[:3] == [
        "relative_margin",
        "relative_margin",
        "candidate",
    ]


def test_a_score_at_the_relative_margin_is_kept() -> None:
    assert judged([0.75, 0.25], 0.5, relative_margin=0.5)[:2] == ["relative_margin", "candidate"]


def test_an_absolute_margin_of_0_keeps_equals() -> None:
    assert judged([0.9, 0.5, 0.4], 0.5, absolute_margin=0) == ["absolute_margin", "candidate", "candidate"]


def test_maximum_and_minimum_keep_their_own_value() -> None:
    reasons = judged([0.75, 0.5, 0.25, 0.125], 1, max_score=0.5, min_score=0.25)
    assert reasons == ["max_score", "candidate", "candidate", "min_score"]


def test_range_min_skips_what_the_limits_left() -> None:
    reasons = judged([0.9, 0.8, 0.7, 0.6], 1, range_min=1, max_score=0.85)
    assert reasons == ["max_score", "range_min", "candidate", "candidate"]


def test_range_max_ends_the_window_and_forbidden_targets_do_not_widen_it() -> None:
    options = {"range_max": 2, "num_negatives": 2}
    assert judged([0.9, 0.8, 0.7, 0.6], 1, **options) == ["candidate", "candidate", "beyond", "beyond"]
    assert judged([0.9, 0.8, 0.7, 0.6], 1, {1: 3}, **options) == [
        "candidate",
        "positive_ids",
        "candidate",
        "beyond",
    ]


def test_ranks_count_what_is_not_forbidden() -> None:
    found = window(
        np.array([[0.9, 0.8, 0.7, 0.6]], np.float32),
        np.array([[0, 1, 4, 0]]),
        np.ones(1, np.float32),
        settings(),
        range_max=4,
        most_positives=1,
    )
    assert found.ranks[0, [0, 3]].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("options", "most_positives", "expected"),
    [
        ({}, 1, 4),
        ({"min_score": 0.1}, 1, 4),
        ({"max_score": 0.9}, 2, 32),
        ({"relative_margin": 0.05, "range_min": 10, "num_negatives": 5}, 1, 61),
        ({"range_max": 50, "relative_margin": 0.05}, 7, 50),
    ],
)
def test_range_max_defaults_as_in_sentence_transformers(
    options: dict[str, Any], most_positives: int, expected: int
) -> None:
    assert settings(**options).resolved_range_max(most_positives) == expected


@given(
    st.lists(st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.7, 0.75, 1.0]), max_size=12).map(
        lambda s: sorted(s, reverse=True)
    ),
    st.sampled_from([-0.5, 0.0, 0.5, 1.0]),
    st.dictionaries(st.integers(0, 11), st.integers(1, 5), max_size=4),
    st.fixed_dictionaries(
        {
            "num_negatives": st.integers(1, 2),
            "range_min": st.integers(0, 3),
            "range_max": st.one_of(st.none(), st.integers(5, 9)),
            "max_score": LIMITS,
            "absolute_margin": LIMITS,
            "relative_margin": SHARES,
        }
    ),
    st.integers(1, 3),
)
def test_it_is_what_sentence_transformers_does(
    scores: list[float],
    positive: float,
    forbidden: dict[int, int],
    options: dict[str, Any],
    most_positives: int,
) -> None:
    """Told here step by step for one query: depth, margins, maximum, then the places of the window."""
    asked = settings(**options)
    range_max = asked.resolved_range_max(most_positives)
    seen = [t for t in range(len(scores)) if forbidden.get(t, 0) <= 2][: range_max + most_positives]
    kept = [t for t in seen if t not in forbidden]
    if asked.absolute_margin is not None:
        kept = [t for t in kept if not scores[t] + asked.absolute_margin > positive]
    if asked.relative_margin is not None:
        limit = np.float32(positive) - np.float32(abs(positive)) * np.float32(asked.relative_margin)
        kept = [t for t in kept if not np.float32(scores[t]) > limit]
    if asked.max_score is not None:
        kept = [t for t in kept if not scores[t] > asked.max_score]
    targets = np.arange(len(scores))[None]
    found = window(
        np.array([scores], np.float32).reshape(1, -1),
        verdicts([forbidden], targets),
        np.array([positive], np.float32),
        asked,
        range_max=range_max,
        most_positives=most_positives,
    )
    assert np.flatnonzero(found.reasons[0] == 0).tolist() == kept[asked.range_min : range_max]


def test_too_near_is_what_maximum_and_margins_refuse() -> None:
    scores = np.array([0.9, 0.7, 0.1], np.float32)
    asked = settings(max_score=0.8, min_score=0.5, absolute_margin=0.1)
    assert too_near(scores, np.float32(0.75), asked).tolist() == [True, True, False]


def test_a_target_that_is_not_there_is_beyond() -> None:
    found = window(
        np.array([[0.5, -np.inf]], np.float32),
        np.zeros((1, 2), np.int64),
        np.ones(1, np.float32),
        settings(),
        range_max=4,
        most_positives=1,
    )
    assert found.reasons.tolist() == [[0, REASONS.index("beyond")]]
