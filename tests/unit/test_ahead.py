"""Work ahead: in order, bounded, and no thing is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.encoder.ahead import Ahead, Ended
from vlm2vec_cli.errors import DataError


def ahead(
    things: Iterator[int], pool: ThreadPoolExecutor | None, budget: int = 100, most: int = 50
) -> Ahead[int, int]:
    """Each thing costs ten times its number."""
    return Ahead(things, lambda n: 10 * n, lambda n: n, pool, budget=budget, first=5, least=3, most=most)


@given(st.lists(st.integers(0, 9), max_size=30), st.booleans())
def test_all_things_in_order_then_the_end_for_good(things: list[int], threads: bool) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = ahead(iter(things), pool if threads else None)
        assert [made.next() for _ in things] == [10 * n for n in things]
        assert made.next() == made.next() == Ended(None)


def test_an_error_of_the_things_comes_last() -> None:
    def things() -> Iterator[int]:
        yield from (1, 2)
        raise DataError("no more")

    with ThreadPoolExecutor(2) as pool:
        made = ahead(things(), pool)
        made.top_up()
        assert [made.next(), made.next()] == [10, 20]
        ended = made.next()
        assert isinstance(ended, Ended)
        assert str(ended.error) == "no more"


@pytest.mark.parametrize(("number", "depth"), [(1, 10), (5, 3), (0, 5)])
def test_as_many_as_the_budget_allows(number: int, depth: int) -> None:
    taken = 0

    def things() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield number

    with ThreadPoolExecutor(2) as pool:
        made = ahead(things(), pool)
        made.top_up()
        assert taken == 5, "nothing is known of the cost"
        for done in range(1, 5):
            made.next()
            made.top_up()
            assert taken == max(5, done + depth)


def test_never_more_than_the_most() -> None:
    with ThreadPoolExecutor(2) as pool:
        made = ahead(iter([1] * 99), pool, budget=10**6, most=7)
        made.next()
        made.top_up()
        assert len(made._waiting) == 7
