import pytest
from hypothesis import given

from naive import CASES, CUTOFFS, Case, agree, one


def definition(ranked: list[str], gains: dict[str, float], k: int) -> float:
    found = len(set(ranked[:k]) & set(gains))
    precision, recall = found / k, found / len(gains) if gains else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(CASES, CUTOFFS)
def test_is_its_definition(cases: list[Case], k: int) -> None:
    agree("f1", cases, k, definition)


def test_by_hand() -> None:
    assert one("f1", "ab", {"a": 1.0, "c": 1.0}, 2) == 0.5


def test_means_nothing_without_a_cutoff() -> None:
    with pytest.raises(ValueError, match="cutoff"):
        one("f1", "ab", {"a": 1.0}, None)
