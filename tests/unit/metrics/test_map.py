import pytest
from hypothesis import given

from naive import CASES, CUTOFFS, Case, agree, one


def definition(ranked: list[str], gains: dict[str, float], k: int | None) -> float:
    hits, total = 0, 0.0
    for rank, candidate in enumerate(ranked[:k], start=1):
        if candidate in gains:
            hits += 1
            total += hits / rank
    return total / min(len(gains), k or len(gains)) if gains else 0.0


@given(CASES, CUTOFFS)
def test_is_its_definition(cases: list[Case], k: int) -> None:
    agree("map", cases, k, definition)
    agree("map", cases, None, definition)


def test_by_hand() -> None:
    assert one("map", "axb".replace("x", "l"), {"a": 1.0, "b": 1.0}, 3) == pytest.approx((1 + 2 / 3) / 2)


def test_the_best_that_k_allows_is_1() -> None:
    assert one("map", "ab", {"a": 1.0, "b": 1.0, "c": 1.0}, 2) == 1
