"""Search, judgement, intervals and the files beside the scores, against their plain definitions."""

import json
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm2vec_cli import metrics, scoring
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.schemas.base import Origin, Record
from vlm2vec_cli.scoring import bootstrap, evaluate, judge, rankings, runs, search
from vlm2vec_cli.scoring.collect import Collector, Dataset, check
from vlm2vec_cli.scoring.corpus import Corpus, Ints, Relevant, Ties, by_id
from vlm2vec_cli.scoring.matrix import Budget, Matrix
from vlm2vec_cli.scoring.result import Settings

GOLDEN = Path(__file__).parent.parent / "golden" / "shared_mini"
ORIGIN = Origin("rows.jsonl", Path("."), "line")
TIES = ("id", "optimistic", "pessimistic")


def vectors(rng: np.random.Generator, count: int, dim: int, *, coarse: bool = False) -> NDArray[np.float32]:
    """Random rows; coarse ones tie a lot."""
    rows = rng.integers(-1, 2, (count, dim)) if coarse else rng.standard_normal((count, dim))
    return rows.astype(np.float32)


def distinct(rows: NDArray[np.float32]) -> bool:
    return bool((rows != rows[0]).any())


def query(name: str, embedding: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "dataset": "d",
        "role": "query",
        "embedding": np.asarray(embedding, np.float32),
        **more,
    }


def candidate(name: str, embedding: Any, **more: Any) -> dict[str, Any]:
    return query(name, embedding, role="candidate", **more)


def collected(rows: Sequence[dict[str, Any]], **options: Any) -> dict[str, Dataset]:
    def reject(error: UserError) -> None:
        raise error

    collector = Collector(reject, **options)
    collector.add(Record({"dataset": "d", **row}, ORIGIN, number) for number, row in enumerate(rows, start=1))
    return collector.datasets


def scored(
    rows: Sequence[dict[str, Any]], settings: Settings | None = None, **options: Any
) -> evaluate.Result:
    settings = settings or Settings(keep=10, first_rank=True, resamples=0)
    datasets = check(collected(rows, similarity=settings.similarity, **options).values())
    (task,) = evaluate.plan(datasets, settings)
    return evaluate.by_vectors(task, settings)


def ranking(result: evaluate.Result, at: int) -> list[str]:
    return [result.task.dataset.ids[number] for number in result.index_QK[at] if number >= 0]


def naive(
    query_QD: NDArray[np.float32],
    rows_ND: NDArray[np.float32],
    ids: Sequence[str],
    golds: Sequence[set[int]],
    ties: str,
    pools: Sequence[Sequence[int]] | None = None,
) -> list[list[int]]:
    """Each query's whole ranking by sorting tuples, from scores as exact as Python has them."""
    ranked = []
    for at, query_D in enumerate(query_QD.tolist()):
        pool = range(len(ids)) if pools is None else pools[at]
        key = {}
        for one in set(pool):
            products = (a * b for a, b in zip(query_D, rows_ND[one].tolist(), strict=True))
            score = float(np.float32(math.fsum(products)))
            preferred = {"id": 0, "optimistic": one in golds[at], "pessimistic": one not in golds[at]}[ties]
            key[one] = (score, preferred, ids[one])
        ranked.append(sorted(pool, key=key.__getitem__, reverse=True))
    return ranked


# ------------------------------------------------------------ search


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


# ------------------------------------------------------------ whole datasets


@given(st.integers(0, 2**32 - 1), st.sampled_from(TIES), st.booleans())
def test_scores_are_those_of_a_plain_loop(seed: int, ties: Ties, local: bool) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 30))
    rows_ND, query_QD = vectors(rng, count, 3, coarse=True), vectors(rng, 5, 3, coarse=True)
    assume(distinct(rows_ND) and distinct(query_QD))
    ids = [f"c{number}" for number in range(count)]
    golds = [set(rng.integers(0, count, rng.integers(1, 4)).tolist()) for _ in query_QD]
    pools = [rng.integers(0, count, rng.integers(1, 9)).tolist() for _ in query_QD] if local else None
    rows = [candidate(name, row) for name, row in zip(ids, rows_ND, strict=True)]
    for at, row in enumerate(query_QD):
        more = {"pool": [ids[one] for one in pools[at]]} if pools else {}
        rows.append(query(f"q{at}", row, relevant={ids[one]: 1.0 + one % 3 for one in golds[at]}, **more))
    settings = Settings(similarity="dot", ties=ties, resamples=0, keep=8, first_rank=True)
    result = scored(rows, settings)
    expected = naive(query_QD, rows_ND, ids, golds, ties, pools)
    for at, (ranked, gold) in enumerate(zip(expected, golds, strict=True)):
        hits = [rank for rank, one in enumerate(ranked, start=1) if one in gold]
        assert ranking(result, at) == [ids[one] for one in ranked[:8]]
        assert result.rank_Q[at] == (hits[0] if hits else 0)
        assert result.num_ranked_Q[at] == len(ranked)
        value = dict(zip((one.name for one in result.task.measures), result.values_QM[at], strict=True))
        assert value["hit@5"] == bool(hits and hits[0] <= 5)
        assert value["mrr@10"] == pytest.approx(1 / hits[0] if hits and hits[0] <= 10 else 0)
        assert value["recall@5"] == pytest.approx(len(set(ranked[:5]) & gold) / len(gold))


def test_scores_ignore_the_order_of_rows() -> None:
    rng = np.random.default_rng(4)
    rows = [candidate(f"c{at}", row) for at, row in enumerate(vectors(rng, 30, 5))]
    rows += [query(f"q{at}", row, relevant={f"c{at}": 1.0}) for at, row in enumerate(vectors(rng, 10, 5))]
    expected = scored(rows, Settings(resamples=0)).row()
    for _ in range(5):
        shuffled = [rows[one] for one in rng.permutation(len(rows))]
        assert scored(shuffled, Settings(resamples=0)).row() == expected


def test_the_relevant_does_not_win_ties_by_its_place() -> None:
    rows = [candidate(name, [1, 0]) for name in "abc"] + [candidate("z", [0, 1])]
    rows += [query(f"q{one}", [1, 0], relevant={one: 1.0}, pool=[one, "a", "b", "c"]) for one in "abc"]
    rows += [query("other", [0, 1], relevant={"z": 1.0})]
    by_ties = {
        ties: scored(rows, Settings(ties=ties, resamples=0)).row()["metrics"]["hit@1"] for ties in TIES
    }
    assert by_ties == {"id": 0.5, "optimistic": 1.0, "pessimistic": 0.25}


def test_metrics_without_a_cutoff_see_the_whole_ranking() -> None:
    rows = [candidate(f"c{at:03}", [1, at / 300]) for at in range(300)]
    rows += [query("q", [1, 0], relevant={"c299": 1.0}), query("r", [0, 1], relevant={"c299": 1.0})]
    settings = Settings(measures=(metrics.parse("mrr"), metrics.parse("map")), resamples=0)
    assert scored(rows, settings).row()["metrics"]["mrr"] == pytest.approx((1 / 300 + 1) / 2)


def test_the_first_relevant_is_found_beyond_what_is_kept() -> None:
    rows = [candidate(f"c{at:03}", [1, at / 300]) for at in range(300)]
    rows += [
        query("q", [1, 0], relevant={"c250": 1.0, "c200": 1.0}),
        query("r", [0, 1], relevant={"c299": 1.0}),
    ]
    assert scored(rows).rank_Q.tolist() == [201, 1]


def test_queries_without_relevant() -> None:
    rows = [candidate("a", [1, 0]), candidate("b", [0, 1])]
    rows += [query("q", [1, 0], relevant={"a": 1.0}), query("r", [0, 1])]
    row = scored(rows, Settings(resamples=0)).row()
    assert (row["num_queries"], row["num_without_relevant"], row["main_score"]) == (1, 1, 1.0)
    row = scored(rows, Settings(resamples=0, no_relevant="zero")).row()
    assert (row["num_queries"], row["main_score"], row["metrics"]["recall@10"]) == (2, 0.5, 0.5)
    with pytest.raises(DataError, match="nothing relevant for query 'r'"):
        scored(rows, Settings(no_relevant="error"))


@pytest.mark.parametrize(
    ("facts", "main"),
    [
        ({}, "hit@1"),
        ({"modality": "visdoc"}, "ndcg_linear@5"),
        ({"modality": "visdoc", "main_metric": "RR@10"}, "mrr@10"),
        ({"dataset": "MSCOCO_i2t"}, "hit@1"),
        ({"dataset": "ViDoRe_arxivqa"}, "ndcg_linear@5"),
    ],
)
def test_the_main_metric_is_that_of_rows_or_catalogue(facts: dict[str, str], main: str) -> None:
    rows = [candidate("a", [1, 0]), candidate("b", [0, 1]), query("q", [1, 0], relevant={"a": 1.0})]
    row = scored([{**one, **facts} for one in rows], Settings(measures=(metrics.parse("hit@1"),))).row()
    assert row["main_metric"] == main
    assert row["main_score"] == row["metrics"][main] == 1


def test_int8_and_binary_vectors() -> None:
    names = ["a", "b"]
    for dtype, rows_ND, query_D in (
        (np.int8, [[100, -3], [-3, 100]], [90, 1]),
        (np.uint8, [[0b11110000], [0b00001111]], [0b11100000]),
    ):
        rows = [
            candidate(name, [0]) | {"embedding": np.array(row, dtype)}
            for name, row in zip(names, rows_ND, strict=True)
        ]
        rows.append(query("q", [0], relevant={"a": 1.0}) | {"embedding": np.array(query_D, dtype)})
        result = scored(rows)
        assert ranking(result, 0) == names
    assert result.score_QK[0, :2].tolist() == pytest.approx([0.75, -0.75])  # 7 and 1 of 8 bits agree


def test_the_reference_on_local_pools() -> None:
    rows = [json.loads(line) for line in (GOLDEN / "vectors.jsonl").read_text().splitlines()]
    result = scored([{**row, "embedding": np.array(row["embedding"], np.float32)} for row in rows])
    predictions = [json.loads(line) for line in (GOLDEN / "shared_mini_pred.jsonl").read_text().splitlines()]
    assert [ranking(result, at) for at in range(4)] == [one["prediction"] for one in predictions]
    expected = json.loads((GOLDEN / "shared_mini_score.json").read_text())
    row = result.row()
    assert row["num_queries"] == expected.pop("num_pred") == expected.pop("num_data")
    for name, value in expected.items():
        assert row["metrics"][name] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("cells", [1, 20, 1 << 20])
def test_judgements_are_found_in_tables_as_by_search(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    relevant = [{int(one): 1.0 + one for one in rng.choice(9, rng.integers(0, 4), False)} for _ in range(12)]
    judgements = judge.Judgements(relevant)
    query_Q = rng.permutation(12)[:7]
    index_QR = rng.integers(-1, 15, (7, 5))
    monkeypatch.setattr(judge, "TABLE_CELLS", cells)
    found = []
    for most_empty in (0, 100):
        monkeypatch.setattr(judge, "MOST_EMPTY", most_empty)
        judged = judgements.judge(query_Q, index_QR, 6)
        found.append((judged.hit_QR, judged.gain_QR))
    for by_search, by_table in zip(*found, strict=True):
        np.testing.assert_array_equal(by_search, by_table)
    expected = [[int(one) in relevant[q] for one in row] for q, row in zip(query_Q, index_QR, strict=True)]
    assert judged.hit_QR[:, :5].tolist() == expected


# ------------------------------------------------------------ vectors


@pytest.mark.parametrize("num_bytes", [0, 100, 1 << 20])
def test_a_matrix_is_the_same_on_disk_and_in_memory(num_bytes: int) -> None:
    rows_ND = vectors(np.random.default_rng(5), 20, 3)
    budget = Budget(num_bytes)
    matrix = Matrix(budget, "dot")
    for row in rows_ND:
        matrix.append(row)
    assert (matrix.rows()[:] == rows_ND).all()
    matrix.close()
    assert budget.left == num_bytes


def test_cosine_ignores_lengths() -> None:
    matrix = Matrix(Budget(), "cosine")
    matrix.append(np.array([3, 4], np.float32))
    assert matrix.rows()[:].tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


A, B = candidate("a", [1, 0]), candidate("b", [0, 1])
Q, R = query("q", [1, 0], relevant={"a": 1.0}), query("r", [0, 1], relevant={"a": 1.0})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [A, candidate("b", [1, 0, 0])],
            "rows.jsonl line 2: embedding has 3 dimensions, the rows before have 2",
        ),
        (
            [A, candidate("b", [math.nan, 0])],
            "rows.jsonl line 2: embedding holds a number that is not finite",
        ),
        ([A, candidate("b", [0, 0])], "rows.jsonl line 2: embedding has length 0, so it has no cosine"),
        ([A, A], "rows.jsonl line 2: id 'a' is already that of another candidate of dataset 'd'"),
        ([Q, A, Q], "rows.jsonl line 3: id 'q' is already that of another query of dataset 'd'"),
        ([A, B, {**Q, "pool": []}], "rows.jsonl line 3: pool: expected at least one candidate id"),
        ([Q, R], "rows.jsonl: dataset 'd': no candidate rows"),
        ([query("q", [1, 0, 0], relevant={"a": 1.0}), A, B], "queries have 3 dimensions, candidates 2"),
        ([Q, A, candidate("b", [2, 0])], "rows.jsonl: dataset 'd': all 2 candidate vectors are equal"),
        ([Q, query("r", [1, 0]), A, B], "rows.jsonl: dataset 'd': all 2 query vectors are equal"),
        (
            [A, B, {**Q, "relevant": {"x": 1.0}}],
            "rows.jsonl line 3: dataset 'd': no vector for candidate 'x'",
        ),
        (
            [A, B, Q, {**R, "pool": ["a", "v", "w", "x", "y", "z"]}],
            "rows.jsonl line 4: dataset 'd': no vector for 5 candidates: 'v', 'w', 'x' and 2 more",
        ),
        ([A, B, query("q", [1, 0])], "rows.jsonl: dataset 'd': no query has a relevant candidate"),
        (
            [{**A, "fingerprint": "f"}, {**B, "fingerprint": "g"}],
            "line 2: fingerprint g differs from f of the rows",
        ),
        ([{**A, "fingerprint": "f"}, B], "line 2: fingerprint missing differs from f of the rows before"),
        (
            [{**A, "model": "m"}, {**B, "model": "n"}],
            "rows.jsonl line 2: model n differs from m of the rows before",
        ),
        (
            [A, B, {**Q, "main_metric": "hti@1"}],
            "rows.jsonl: dataset 'd': main_metric: unknown metric 'hti@1'",
        ),
    ],
)
def test_what_is_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError) as raised:
        scored(rows)
    assert message in str(raised.value)


def test_mixed_fingerprints_when_told() -> None:
    rows = [{**A, "fingerprint": "f"}, {**B, "fingerprint": "f"}, {**Q, "fingerprint": "g"}]
    assert scored(rows, allow_mixed=True).row()["fingerprint"] == "f + g"


def test_datasets_may_have_different_fingerprints() -> None:
    rows = [{**A, "fingerprint": "f"}, {**A, "dataset": "e", "fingerprint": "g"}]
    assert [one.fingerprints for one in collected(rows).values()] == [["f"], ["g"]]


# ------------------------------------------------------------ intervals


def test_intervals_are_percentiles_of_resampled_means() -> None:
    values_QM = np.random.default_rng(6).random((40, 3))
    got = bootstrap.intervals(values_QM, 500, np.random.default_rng(7))
    draws = np.random.default_rng(7).integers(0, 40, (500, 40))
    means = np.array([values_QM[draw].mean(axis=0) for draw in draws])
    np.testing.assert_allclose(got, np.quantile(means, [0.025, 0.975], axis=0).T, atol=1e-12)


def test_intervals_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values_QM = np.random.default_rng(8).random((10, 2))
    whole = bootstrap.intervals(values_QM, 100, np.random.default_rng(9))
    monkeypatch.setattr(bootstrap, "MAX_DRAWS", 35)
    assert (bootstrap.intervals(values_QM, 100, np.random.default_rng(9)) == whole).all()


def test_intervals_cover_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(10)
    covered = 0
    for _ in range(300):
        low, high = bootstrap.intervals(rng.normal(0.5, 0.1, (60, 1)), 300, rng)[0]
        covered += low <= 0.5 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_an_interval_depends_on_seed_and_dataset_alone() -> None:
    def first(seed: int, dataset: str) -> float:
        return float(bootstrap.generator(seed, dataset).random())

    assert first(0, "a") == first(0, "a")
    assert len({first(0, "a"), first(1, "a"), first(0, "b")}) == 3


# ------------------------------------------------------------ runs


def lines(text: str) -> Iterator[tuple[int, str]]:
    return iter(list(enumerate(text.splitlines(), start=1)))


@pytest.mark.parametrize(
    "text",
    [
        "q 0 a 2\nq 0 b 0\nr 0 c -1\n",
        "q\t0\ta\t2\nq\t0\tb\t0\nr\t0\tc\t0",
        "query-id\tcorpus-id\tscore\nq\ta\t2\nr\tc\t0",
    ],
)
def test_qrels_in_every_form(text: str) -> None:
    assert runs.read_qrels(lines(text), "qrels") == {"q": {"a": 2.0}, "r": {}}


def test_qrels_with_blanks_in_ids() -> None:
    assert runs.read_qrels(lines("q 1\ta bus\t1"), "qrels") == {"q 1": {"a bus": 1.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q 0 a 1\nq 0 b\n", "qrels line 2: expected QUERY 0 CANDIDATE GAIN"),
        ("q 0 a 1\nq 0 b x\n", "qrels line 2: expected QUERY 0 CANDIDATE GAIN"),
        ("q 0 a 1\nq 0 b nan\n", "qrels line 2: expected QUERY 0 CANDIDATE GAIN"),
        ("q 0 a 1\nq 0 a 1\n", "qrels line 2: candidate 'a' of query 'q' is judged twice"),
        ("", "qrels: no judgements"),
        ("query-id\tcorpus-id\tscore\n", "qrels: no judgements"),
    ],
)
def test_qrels_that_are_none(text: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        runs.read_qrels(lines(text), "qrels")
    assert str(raised.value).startswith(message)


def test_a_trec_run_is_sorted_by_score() -> None:
    rows = list(runs.read_run(lines("q Q0 a 1 0.5 x\nr Q0 a 1 1 x\nq Q0 b 2 0.7 x"), "run"))
    assert [(row["query"], row["candidates"], row["scores"]) for row in rows] == [
        ("q", ["b", "a"], [0.7, 0.5]),
        ("r", ["a"], [1.0]),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 a 1", "run line 1: expected QUERY Q0 CANDIDATE RANK SCORE TAG"),
        ("q Q0 a 1 x tag", "run line 1: expected QUERY Q0 CANDIDATE RANK SCORE TAG"),
        ("q Q0 a 1 nan tag", "run line 1: expected QUERY Q0 CANDIDATE RANK SCORE TAG"),
        ("", "run: no rankings"),
        ('{"query": "q"}', "run line 1: candidates: missing"),
        ('{"query": ', "run line 1: not JSON"),
        ('{"query": "q", "candidates": ["a"], "scores": []}', "run line 1: scores: expected one a candidate"),
        (
            '{"prediction": ["a"], "label": ["a"], "rel_scores": []}',
            "run line 1: rel_scores: expected one a label",
        ),
        (
            '{"query": "q", "candidates": ["a", "b"], "scores": [1, 2]}',
            "run line 1: query 'q': the score rises",
        ),
        ("q Q0 a 1 1 x\n{}", "run line 2: expected QUERY Q0"),
    ],
)
def test_runs_that_are_none(text: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        runs.gather(runs.read_run(lines(text), "run"), {}, "run", print)
    assert str(raised.value).startswith(message)


def test_a_second_ranking_of_a_query_is_refused() -> None:
    row = '{"query": "q", "candidates": ["a"]}\n'
    with pytest.raises(DataError, match=r"run line 2: query 'q' has a second ranking"):
        runs.gather(runs.read_run(lines(row * 2), "run"), {}, "run", print)


@given(st.integers(0, 2**32 - 1), st.sampled_from(TIES))
def test_a_run_scores_as_the_vectors_that_made_it(seed: int, ties: Ties) -> None:
    rng = np.random.default_rng(seed)
    rows_ND, query_QD = vectors(rng, 9, 3, coarse=True) + 0.5, vectors(rng, 4, 3, coarse=True) + 0.25
    assume(distinct(rows_ND) and distinct(query_QD))
    rows = [candidate(f"c{at}", row) for at, row in enumerate(rows_ND)]
    for at, row in enumerate(query_QD):
        rows.append(query(f"q{at}", row, relevant={f"c{rng.integers(0, 9)}": 1.0}))
    settings = Settings(ties=ties, resamples=0, keep=9)
    result = scored(rows, settings)
    written = [{**row, "place": "x"} for row in rankings.rows(result, 9)]
    run = runs.gather(written, {}, "x", print)
    (task,) = evaluate.plan(run.datasets.values(), settings)
    again = evaluate.by_run(task, settings, run.rankings["d"])
    of_vectors = ("dim", "precision", "data_digest")
    assert again.row() == {name: value for name, value in result.row().items() if name not in of_vectors}
    text = b"".join(rankings.trec_lines(result, 9)).decode()
    trec = list(runs.read_run(lines(text), "x"))
    if ties == "id":
        assert [row["candidates"] for row in trec] == [row["candidates"] for row in written]


def test_queries_that_a_run_leaves_out_count_as_0() -> None:
    run = runs.gather(runs.read_run(lines("q Q0 a 1 1 x"), "run"), {}, "run", print)
    dataset = run.datasets["default"]
    runs.add_query(dataset, "r", "qrels")
    scoring.judge_by(dataset, {"q": {"a": 1.0}, "r": {"a": 1.0}})
    (task,) = evaluate.plan([dataset], Settings(resamples=0))
    assert evaluate.by_run(task, Settings(resamples=0), run.rankings["default"]).row()["main_score"] == 0.5


def test_judgements_of_unknown_queries_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("vlm2vec_cli").propagate = True
    (dataset,) = collected([A, B, Q]).values()
    scoring.judge_by(dataset, {"q": {"b": 1.0}, "x": {"a": 1.0}})
    assert dataset.relevant == [{dataset.number["b"]: 1.0}]
    assert "judgements of query 'x' are not used" in caplog.text
