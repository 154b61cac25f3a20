import pytest
from hypothesis import given

from naive import CASES, CUTOFFS, Case, agree, one


def definition(ranked: list[str], gains: dict[str, float], k: int | None) -> float:
    hits, total = 0, 0.0
    for rank, candidate in enumerate(ranked[:k], start=1):
        if candidate in gains:
            hits += 1
            total += hits / rank
    return total / len(gains) if gains else 0.0


@given(CASES, CUTOFFS)
def test_is_its_definition(cases: list[Case], k: int) -> None:
    agree("ap", cases, k, definition)
    agree("ap", cases, None, definition)


def test_all_relevant_count_below_the_line() -> None:
    assert one("ap", "ab", {"a": 1.0, "b": 1.0, "c": 1.0}, 2) == pytest.approx(2 / 3)


def test_without_a_cutoff_it_is_map() -> None:
    gains = {"a": 1.0, "c": 1.0}
    assert one("ap", "bac", gains, None) == one("map", "bac", gains, None)
