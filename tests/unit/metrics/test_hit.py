from hypothesis import given

from naive import CASES, CUTOFFS, Case, agree, one


@given(CASES, CUTOFFS)
def test_is_its_definition(cases: list[Case], k: int) -> None:
    agree("hit", cases, k, lambda ranked, gains, k: float(any(one in gains for one in ranked[:k])))


def test_by_hand() -> None:
    assert [one("hit", "lab", {"a": 1.0}, k) for k in (1, 2, 9)] == [0, 1, 1]
