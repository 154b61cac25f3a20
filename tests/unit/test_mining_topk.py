import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.mining import topk
from vlm2vec_cli.mining.topk import Floats, Found, Ints, Rows, top_k


def brute_force(queries: Floats, targets: Floats, k: int) -> tuple[Floats, Ints]:
    """All scores in float64, rounded once; of equal ones the lower row first."""
    scores = (
        (queries.astype(np.float64)[:, None, :] * targets.astype(np.float64)).sum(axis=2).astype(np.float32)
    )
    order = np.lexsort((np.broadcast_to(np.arange(len(targets)), scores.shape), -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def rows(matrix: Floats) -> Rows:
    return Rows(matrix, np.arange(len(matrix)))


def assert_equal(found: Found, expected: tuple[Floats, Ints]) -> None:
    np.testing.assert_array_equal(found.targets, expected[1])
    np.testing.assert_array_equal(found.scores, expected[0])


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 400),
    st.integers(1, 9),
    st.integers(1, 30),
    st.integers(1, 300),
    st.booleans(),
)
def test_any_blocks_give_the_brute_force_ranking(
    seed: int, num_queries: int, num_targets: int, dim: int, k: int, block: int, coarse: bool
) -> None:
    random = np.random.default_rng(seed)
    numbers = random.integers(-1, 2, (num_queries + num_targets, dim)) if coarse else random.standard_normal
    drawn = np.asarray(numbers if coarse else random.standard_normal((num_queries + num_targets, dim)))
    drawn = drawn + (np.abs(drawn).sum(axis=1, keepdims=True) == 0)  # no zero vectors
    vectors = topk.unit_rows(drawn.astype(np.float32))
    queries, targets = vectors[:num_queries], vectors[num_queries:]
    assert_equal(top_k(queries, rows(targets), k, block=block), brute_force(queries, targets, k))


@pytest.mark.parametrize("num_queries", [0, 1, 7, 16])
def test_parts_at_a_time_give_the_same(num_queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topk, "PART_ROWS", 3)
    monkeypatch.setattr(topk.os, "cpu_count", lambda: 4)
    vectors = topk.unit_rows(np.random.default_rng(5).standard_normal((100, 8)).astype(np.float32))
    expected = top_k(vectors[:num_queries], rows(vectors), 5)
    assert_equal(
        topk.parallel_top_k(vectors[:num_queries], rows(vectors), 5), (expected.scores, expected.targets)
    )


@pytest.mark.parametrize("spread", [0.0, 1e-8, 1e-4])
def test_masses_of_equal_scores_stay_exact(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topk, "LOOKED_AT", 1 << 12)
    random = np.random.default_rng(1)
    targets = topk.unit_rows((1 + spread * random.standard_normal((5000, 8))).astype(np.float32))
    queries = topk.unit_rows(random.standard_normal((6, 8)).astype(np.float32))
    assert_equal(top_k(queries, rows(targets), 5), brute_force(queries, targets, 5))


def test_the_named_rows_are_what_is_searched() -> None:
    matrix = topk.unit_rows(np.random.default_rng(2).standard_normal((50, 4)).astype(np.float32))
    chosen = np.array([40, 3, 17, 3])
    assert_equal(top_k(matrix[:5], Rows(matrix, chosen), 4), brute_force(matrix[:5], matrix[chosen], 4))


@pytest.mark.parametrize("k", [1, 5])
def test_no_targets_give_nothing(k: int) -> None:
    found = top_k(np.ones((2, 3), np.float32), Rows(np.empty((0, 3), np.float32), np.empty(0, np.int64)), k)
    assert found.targets.shape == found.scores.shape == (2, 0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 700))
def test_at_least_finds_what_a_comparison_finds(seed: int, num_rows: int, num_columns: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 50, (num_rows, num_columns)).astype(np.float32)
    floor = random.integers(30, 60, num_rows).astype(np.float32)
    found = set(zip(*(one.tolist() for one in topk.at_least(scores, floor)), strict=True))
    assert found == {
        (r, c) for r, c in zip(*(x.tolist() for x in np.nonzero(scores >= floor[:, None])), strict=True)
    }


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-2, 2, width=32)), max_size=60))
def test_best_first_sorts_by_row_then_falling_score(entries: list[tuple[int, float]]) -> None:
    group = np.array([row for row, _ in entries], dtype=np.int64)
    scores = np.array([score for _, score in entries], dtype=np.float32)
    order = np.argsort(topk.best_first(group, scores), kind="stable")
    np.testing.assert_array_equal(order, np.lexsort((-scores, group)))


def test_equal_pairs_have_equal_dots_wherever_they_stand() -> None:
    random = np.random.default_rng(3)
    left, right = (random.standard_normal((1000, 257)).astype(np.float32) for _ in range(2))
    order = random.permutation(1000)
    np.testing.assert_array_equal(topk.dots(left, right)[order], topk.dots(left[order], right[order]))
    assert topk.dots(left[7:8], right[7:8])[0] == topk.dots(left, right)[7]
