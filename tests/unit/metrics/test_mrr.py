from hypothesis import given

from naive import CASES, CUTOFFS, Case, agree, one


def definition(ranked: list[str], gains: dict[str, float], k: int | None) -> float:
    return next((1 / rank for rank, one in enumerate(ranked[:k], start=1) if one in gains), 0.0)


@given(CASES, CUTOFFS)
def test_is_its_definition(cases: list[Case], k: int) -> None:
    agree("mrr", cases, k, definition)
    agree("mrr", cases, None, definition)


def test_by_hand() -> None:
    assert [one("mrr", "bca", {"a": 1.0}, k) for k in (2, 3, None)] == [0, 1 / 3, 1 / 3]
