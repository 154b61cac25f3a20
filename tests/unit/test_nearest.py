from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm2vec_cli import nearest
from vlm2vec_cli.nearest import Floats, Found, Ints, MakeProduct, OnProcessor, Rows, top_k
from vlm2vec_cli.nearest.device import OnDevice

PRODUCTS = [
    pytest.param(OnProcessor, id="numpy"),
    pytest.param(partial(OnDevice, device=torch.device("cpu")), id="torch"),
]


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


@pytest.mark.parametrize("product", PRODUCTS)
@settings(max_examples=60)
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
    product: MakeProduct,
    seed: int,
    num_queries: int,
    num_targets: int,
    dim: int,
    k: int,
    block: int,
    coarse: bool,
) -> None:
    random = np.random.default_rng(seed)
    numbers = random.integers(-1, 2, (num_queries + num_targets, dim)) if coarse else random.standard_normal
    drawn = np.asarray(numbers if coarse else random.standard_normal((num_queries + num_targets, dim)))
    drawn = drawn + (np.abs(drawn).sum(axis=1, keepdims=True) == 0)  # no zero vectors
    vectors = nearest.unit_rows(drawn.astype(np.float32))
    queries, targets = vectors[:num_queries], vectors[num_queries:]
    found = top_k(queries, rows(targets), k, block=block, product=product)
    assert_equal(found, brute_force(queries, targets, k))


@pytest.mark.parametrize("num_queries", [0, 1, 7, 16])
def test_parts_at_a_time_give_the_same(num_queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "PART_ROWS", 3)
    monkeypatch.setattr(nearest.threads, "most", lambda: 4)
    vectors = nearest.unit_rows(np.random.default_rng(5).standard_normal((100, 8)).astype(np.float32))
    expected = top_k(vectors[:num_queries], rows(vectors), 5)
    assert_equal(
        nearest.parallel_top_k(vectors[:num_queries], rows(vectors), 5), (expected.scores, expected.targets)
    )


def test_products_of_parts_have_a_thread_each_and_get_the_others_back() -> None:
    before = nearest.threads.most()
    with nearest.threads.one_each(1):
        assert nearest.threads.most() == before
    with nearest.threads.one_each(2):
        assert nearest.threads.most() == 1
    assert nearest.threads.most() == before


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("spread", [0.0, 1e-8, 1e-4])
def test_masses_of_equal_scores_stay_exact(
    product: MakeProduct, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (OnProcessor, OnDevice):
        monkeypatch.setattr(one, "looked_at", 1 << 12)
        monkeypatch.setattr(one, "block_rows", 1 << 11)
    random = np.random.default_rng(1)
    targets = nearest.unit_rows((1 + spread * random.standard_normal((5000, 8))).astype(np.float32))
    queries = nearest.unit_rows(random.standard_normal((6, 8)).astype(np.float32))
    assert_equal(top_k(queries, rows(targets), 5, product=product), brute_force(queries, targets, 5))


def test_long_vectors_and_ties_told_otherwise() -> None:
    random = np.random.default_rng(4)
    targets = (1000 * random.integers(-2, 3, (300, 4))).astype(np.float32)
    queries = random.integers(-2, 3, (7, 4)).astype(np.float32)
    longest = float(np.linalg.norm(targets, axis=1).max())
    found = top_k(queries, Rows(targets, longest=longest), 9, ties=lambda rows, targets: (-targets,))
    scores, places = brute_force(queries, targets[::-1], 9)
    assert_equal(found, (scores, len(targets) - 1 - places))


def test_the_named_rows_are_what_is_searched() -> None:
    matrix = nearest.unit_rows(np.random.default_rng(2).standard_normal((50, 4)).astype(np.float32))
    chosen = np.array([40, 3, 17, 3])
    assert_equal(top_k(matrix[:5], Rows(matrix, chosen), 4), brute_force(matrix[:5], matrix[chosen], 4))


@pytest.mark.parametrize("k", [1, 5])
def test_no_targets_give_nothing(k: int) -> None:
    found = top_k(np.ones((2, 3), np.float32), Rows(np.empty((0, 3), np.float32), np.empty(0, np.int64)), k)
    assert found.targets.shape == found.scores.shape == (2, 0)


@pytest.mark.parametrize("product", PRODUCTS)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 70), st.integers(1, 5))
def test_at_least_finds_what_a_comparison_finds(
    product: MakeProduct, seed: int, num_queries: int, num_targets: int, k: int
) -> None:
    random = np.random.default_rng(seed)
    queries, targets = (random.integers(-4, 5, (n, 3)).astype(np.float32) for n in (num_queries, num_targets))
    floor = random.integers(-20, 30, num_queries).astype(np.float32)
    scores = queries @ targets.T  # small integers: no rounding
    made = product(queries)
    made.meet(np.zeros((3, 3), np.float32))
    made.meet(targets)
    low = num_queries // 2
    found = sorted(zip(*(one.tolist() for one in made.at_least(low, num_queries, floor[low:])), strict=True))
    at = np.argwhere(scores >= floor[:, None]).tolist()
    assert found == [(row, column, scores[row, column]) for row, column in at if row >= low]
    k = min(k, num_targets)
    np.testing.assert_array_equal(made.kth(k), np.sort(scores, axis=1)[:, -k])


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-2, 2, width=32)), max_size=60))
def test_best_first_sorts_by_row_then_falling_score(entries: list[tuple[int, float]]) -> None:
    group = np.array([row for row, _ in entries], dtype=np.int64)
    scores = np.array([score for _, score in entries], dtype=np.float32)
    order = np.argsort(nearest.best_first(group, scores), kind="stable")
    np.testing.assert_array_equal(order, np.lexsort((-scores, group)))


def test_equal_pairs_have_equal_dots_wherever_they_stand() -> None:
    random = np.random.default_rng(3)
    left, right = (random.standard_normal((1000, 257)).astype(np.float32) for _ in range(2))
    order = random.permutation(1000)
    np.testing.assert_array_equal(nearest.dots(left, right)[order], nearest.dots(left[order], right[order]))
    assert nearest.dots(left[7:8], right[7:8])[0] == nearest.dots(left, right)[7]
