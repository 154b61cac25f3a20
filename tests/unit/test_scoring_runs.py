"""Judgements and rankings of other tools."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scored import TIES, candidate, collected, distinct, query, scored, vectors
from vlm2vec_cli import scoring
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.scoring import evaluate, rankings, runs
from vlm2vec_cli.scoring.corpus import Ties
from vlm2vec_cli.scoring.result import Settings


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
        (
            '{"query": "q", "candidates": ["a"], "relevant": ["a"]}',
            "run line 1: relevant: expected an object of gains, got a list",
        ),
        (
            '{"query": "q", "candidates": ["a"], "relevant": {"a": 0}}',
            "run line 1: relevant: a: expected a gain above 0, got 0",
        ),
        (
            '{"prediction": ["a"], "label": ["a"], "rel_scores": ["x"]}',
            "run line 1: rel_scores: entry 1: expected a number from 0, got 'x'",
        ),
        (
            '{"prediction": ["a"], "label": ["a"], "rel_scores": [-1]}',
            "run line 1: rel_scores: entry 1: expected a number from 0, got -1",
        ),
        (
            '{"prediction": ["a"], "label": "a", "rel_scores": 1}',
            "run line 1: rel_scores: expected a list of numbers, got a number",
        ),
        ('{"prediction": "a", "label": "a"}', "run line 1: candidates: expected a list of ids, got a string"),
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
    of_vectors = ("dim", "precision", "data_digest")  # a run alone does not know all candidates
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
    (dataset,) = collected([candidate("a", [1, 0]), candidate("b", [0, 1]), query("q", [1, 0])]).values()
    scoring.judge_by(dataset, {"q": {"b": 1.0}, "x": {"a": 1.0}})
    assert dataset.relevant == [{dataset.number["b"]: 1.0}]
    assert "judgements of query 'x' are not used" in caplog.text
