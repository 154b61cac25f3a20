import pytest
from hypothesis import given

from naive import CASES, CUTOFFS, Case, agree, one


@given(CASES, CUTOFFS)
def test_is_its_definition(cases: list[Case], k: int) -> None:
    agree("precision", cases, k, lambda ranked, gains, k: len(set(ranked[:k]) & set(gains)) / k)


def test_by_hand() -> None:
    assert one("precision", "ab", {"a": 1.0, "b": 1.0}, 5) == 0.4


def test_a_candidate_counts_once() -> None:
    assert one("precision", "aa", {"a": 1.0}, 2) == 0.5


def test_means_nothing_without_a_cutoff() -> None:
    with pytest.raises(ValueError, match="cutoff"):
        one("precision", "ab", {"a": 1.0}, None)
