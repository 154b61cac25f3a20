from math import log2

import pytest
from hypothesis import given

from naive import CASES, CUTOFFS, Case, agree, one


def dcg(gains: list[float]) -> float:
    return sum((2**gain - 1) / log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def definition(ranked: list[str], gains: dict[str, float], k: int | None) -> float:
    ideal = dcg(sorted(gains.values(), reverse=True)[:k])
    return dcg([gains.get(one, 0.0) for one in ranked[:k]]) / ideal if ideal else 0.0


@given(CASES, CUTOFFS)
def test_is_its_definition(cases: list[Case], k: int) -> None:
    agree("ndcg_exponential", cases, k, definition)
    agree("ndcg_exponential", cases, None, definition)


def test_a_perfect_graded_ranking_is_1() -> None:
    assert one("ndcg_exponential", "abc", {"c": 1.0, "a": 3.0, "b": 2.0}, 5) == 1


def test_by_hand() -> None:
    ideal = 7 + 1 / log2(3)
    assert one("ndcg_exponential", "ba", {"a": 3.0, "b": 1.0}, 5) == pytest.approx((1 + 7 / log2(3)) / ideal)


def test_large_gains_do_not_overflow() -> None:
    assert one("ndcg_exponential", "ba", {"a": 5000.0, "b": 1.0}, 5) == pytest.approx(1 / log2(3))
