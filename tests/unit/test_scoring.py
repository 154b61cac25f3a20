"""Whole datasets against their plain definitions."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scored import TIES, candidate, distinct, naive, query, ranking, scored, vectors
from vlm2vec_cli import metrics
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.scoring import judge
from vlm2vec_cli.scoring.corpus import Ties
from vlm2vec_cli.scoring.result import Settings

GOLDEN = Path(__file__).parent.parent / "golden" / "shared_mini"


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
    with pytest.raises(DataError, match="nothing relevant for query 'r'") as caught:
        scored(rows, Settings(no_relevant="error"))
    assert "--no-relevant zero counts them as 0" in (caught.value.hint or "")


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
