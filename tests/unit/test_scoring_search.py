"""Search against sorting by plain sums."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from scored import TIES, naive, vectors
from vlm2vec_cli.scoring import integers, scorers, search
from vlm2vec_cli.scoring.corpus import Corpus, Ints, Relevant, Ties, by_id
from vlm2vec_cli.scoring.matrix import Budget, Matrix, Rows


@pytest.fixture(params=["found", "sorted", "tiny blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways through the search: the nearest alone, sorting all, blocks of a few rows and columns."""
    monkeypatch.setattr(search, "FEW", 0 if request.param == "sorted" else 2)
    if request.param == "tiny blocks":
        monkeypatch.setattr(search, "QUERY_BLOCK", 3)
        monkeypatch.setattr(search, "COLUMN_BLOCK", 7)
        monkeypatch.setattr(search, "MAX_SCORES", 20)
        monkeypatch.setattr(integers, "COLUMN_BLOCK", 7)
        monkeypatch.setattr(scorers, "COLUMN_BLOCK", 7)
        monkeypatch.setattr(scorers, "MAX_GATHERED", 10)
    return str(request.param)


def relevant_to(golds: Sequence[set[int]]) -> Relevant:
    def relevant(query_Q: Ints, index_QR: Ints) -> NDArray[np.bool_]:
        return np.array([[one in golds[q] for one in row] for q, row in zip(query_Q, index_QR, strict=True)])

    return relevant


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("depth", [1, 5, 60])
def test_search_is_sorting(blocks: str, ties: Ties, coarse: bool, depth: int) -> None:
    rng = np.random.default_rng(depth)
    rows_ND, query_QD = vectors(rng, 60, 4, coarse=coarse), vectors(rng, 9, 4, coarse=coarse)
    ids = [f"c{number}" for number in rng.permutation(60)]
    golds = [set(rng.integers(0, 60, 3).tolist()) for _ in query_QD]
    corpus = Corpus(rows_ND, by_id(ids), ties, relevant_to(golds))
    expected = naive(query_QD, rows_ND, ids, golds, ties)
    chosen = np.array([7, 0, 3, 4, 5, 8, 1])
    found = list(search.search_all(corpus, query_QD, chosen, depth))
    assert np.concatenate([block.query_Q for block in found]).tolist() == chosen.tolist()
    got = np.concatenate([block.index_QR for block in found]).tolist()
    assert got == [expected[one][:depth] for one in chosen]


def stored(rng: np.random.Generator, count: int, dim: int, precision: str) -> Rows:
    """Rows as files hold them; those of few dimensions tie a lot."""
    matrix = Matrix(Budget(), "cosine")
    for _ in range(count):
        row = rng.integers(-127, 128, dim).astype(np.int8)
        row[0] = row[0] or 1
        matrix.append((row if precision == "int8" else np.packbits(row > 0))[None])
    return matrix.rows()


def plain_scores(rows_QD: Rows, rows_ND: Rows) -> list[list[float]]:
    """Cosines of whole numbers by Python's own integers."""
    sides = [[[int(one) for one in row] for row in side[:]] for side in (rows_QD, rows_ND)]
    return [
        [
            float(
                np.float32(
                    sum(a * b for a, b in zip(one, other, strict=True))
                    / (math.sqrt(sum(a * a for a in one)) * math.sqrt(sum(b * b for b in other)))
                )
            )
            for other in sides[1]
        ]
        for one in sides[0]
    ]


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize(("precision", "dim"), [("int8", 3), ("int8", 1100), ("binary", 8), ("binary", 1104)])
@pytest.mark.parametrize("depth", [3, 30])
def test_int8_and_binary_scores_are_those_of_whole_numbers(
    blocks: str, ties: Ties, precision: str, dim: int, depth: int
) -> None:
    rng = np.random.default_rng(dim)
    rows_ND, rows_QD = stored(rng, 30, dim, precision), stored(rng, 4, dim, precision)
    ids = [f"c{number}" for number in rng.permutation(30)]
    golds = [set(rng.integers(0, 30, 10).tolist()) for _ in range(4)]
    corpus = Corpus(rows_ND, by_id(ids), ties, relevant_to(golds) if ties != "id" else None)
    scores = plain_scores(rows_QD, rows_ND)
    for block in search.search_all(corpus, rows_QD, np.array([2, 0, 3, 1]), depth):
        for at, found in zip(block.query_Q.tolist(), block.index_QR.tolist(), strict=True):
            better = {
                "id": set(range(30)),
                "optimistic": golds[at],
                "pessimistic": set(range(30)) - golds[at],
            }
            key = {one: (scores[at][one], one in better[ties], ids[one]) for one in range(30)}
            assert found == sorted(range(30), key=key.__getitem__, reverse=True)[:depth]
        for at, row in enumerate(block.query_Q):
            assert block.score_QR[at].tolist() == [scores[row][one] for one in block.index_QR[at]]
    pools = [rng.integers(0, 30, 7) for _ in range(4)]
    for block in search.search_pools(corpus, rows_QD, np.arange(4), pools):
        for at, row in enumerate(block.query_Q):
            assert block.score_QR[at].tolist() == [scores[row][one] for one in block.index_QR[at]]


@pytest.mark.parametrize("ties", TIES)
def test_rank_of_first_is_the_place_in_the_whole_ranking(blocks: str, ties: Ties) -> None:
    rng = np.random.default_rng(1)
    rows_ND, query_QD = vectors(rng, 40, 3, coarse=True), vectors(rng, 12, 3, coarse=True)
    ids = [f"c{number}" for number in rng.permutation(40)]
    golds = [set(rng.integers(0, 40, 2).tolist()) for _ in query_QD]
    corpus = Corpus(rows_ND, by_id(ids), ties, relevant_to(golds))
    got = search.rank_of_first(corpus, query_QD, np.arange(12), [np.array(sorted(one)) for one in golds])
    expected = naive(query_QD, rows_ND, ids, golds, ties)
    assert got.tolist() == [
        min(ranked.index(one) for one in gold) + 1 for ranked, gold in zip(expected, golds, strict=True)
    ]


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("num_candidates", [12, 300])
def test_pools_are_ranked_whole_and_keep_repeats(blocks: str, ties: Ties, num_candidates: int) -> None:
    rng = np.random.default_rng(2)
    rows_ND, query_QD = vectors(rng, num_candidates, 3, coarse=True), vectors(rng, 9, 3, coarse=True)
    ids = [f"c{number}" for number in rng.permutation(num_candidates)]
    golds = [set(rng.integers(0, num_candidates, 2).tolist()) for _ in query_QD]
    pools = [rng.integers(0, num_candidates, rng.integers(1, 9)) for _ in query_QD]
    corpus = Corpus(rows_ND, by_id(ids), ties, relevant_to(golds))
    expected = naive(query_QD, rows_ND, ids, golds, ties, [pool.tolist() for pool in pools])
    got = [
        [one for one in row if one >= 0]
        for block in search.search_pools(corpus, query_QD, np.arange(9), pools)
        for row in block.index_QR.tolist()
    ]
    assert got == expected


def test_scores_do_not_depend_on_where_a_candidate_stands() -> None:
    rng = np.random.default_rng(3)
    rows_ND, query_QD = vectors(rng, 500, 96), vectors(rng, 4, 96)
    rows_ND[250:] = rows_ND[:250]  # every vector twice
    block = next(search.search_all(Corpus(rows_ND, np.arange(500)), query_QD, np.arange(4), 50))
    assert (block.score_QR[:, ::2] == block.score_QR[:, 1::2]).all()
    assert (block.index_QR[:, ::2] == block.index_QR[:, 1::2] + 250).all()  # the larger id first
