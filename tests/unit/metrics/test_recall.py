from hypothesis import given

from naive import CASES, CUTOFFS, Case, agree, one


def definition(ranked: list[str], gains: dict[str, float], k: int) -> float:
    return len(set(ranked[:k]) & set(gains)) / len(gains) if gains else 1.0


@given(CASES, CUTOFFS)
def test_is_its_definition(cases: list[Case], k: int) -> None:
    agree("recall", cases, k, definition)


def test_by_hand() -> None:
    assert [one("recall", "abc", {"a": 1.0, "c": 2.0}, k) for k in (1, 2, 3)] == [0.5, 0.5, 1]


def test_of_nothing_all_is_found() -> None:
    assert one("recall", "abc", {}, 1) == 1
