"""`vlm2vec score` in a pipe, as users run it: the scores of rows, and refusals."""

import json
from typing import Any

import pytest

from runner import Runner
from score_rows import jsonl, refusal, rows


def test_a_pipe_gives_a_row_a_dataset_in_order_of_appearance(vlm2vec: Runner) -> None:
    done = vlm2vec("score", stdin=jsonl([*rows(dataset="z"), *rows(dataset="a")]))
    assert (done.exit_code, done.stderr) == (0, b"")
    first, second = done.rows
    assert (first["dataset"], second["dataset"]) == ("z", "a")
    assert first["schema"] == "vlm2vec/score@1"
    assert first["num_queries"] == first["num_candidates"] == 3
    assert (first["model"], first["fingerprint"]) == ("m", "f")
    assert (first["main_metric"], first["main_score"]) == ("hit@1", pytest.approx(2 / 3))
    assert list(first["metrics"])[:4] == ["hit@1", "hit@5", "hit@10", "precision@1"]
    assert len(first["metrics"]) == 24
    low, high = first["ci95"]["hit@1"]
    assert 0 <= low < 2 / 3 < high <= 1
    assert first["tool_version"]


def test_facts_of_the_rows_reach_the_score(vlm2vec: Runner) -> None:
    facts = {"modality": "visdoc", "task_type": "retrieval", "group": "g"}
    (row,) = vlm2vec("score", "--metrics", "hit@1", stdin=jsonl(rows(**facts))).rows
    assert {name: row[name] for name in facts} == facts
    assert row["main_metric"] == "ndcg_linear@5"
    assert list(row["metrics"]) == ["hit@1", "ndcg_linear@5"]


def test_the_same_command_gives_the_same_bytes_and_a_seed_other_intervals(vlm2vec: Runner) -> None:
    once, twice = (vlm2vec("score", stdin=jsonl(rows())).stdout for _ in range(2))
    other = vlm2vec("score", "--seed", "1", "--bootstrap", "7", stdin=jsonl(rows())).stdout
    assert once == twice != other


def test_a_gold_that_a_pool_holds_twice_counts_twice_and_the_report_reads_it(vlm2vec: Runner) -> None:
    pools = [{**row, "pool": ["a", "a", "b", "c"]} if row["id"] == "q1" else row for row in rows()]
    asked = ("--metrics", "map@10,hit@1", "--main-metric", "map@10")
    done = vlm2vec("score", *asked, stdin=jsonl([row for row in pools if row["id"] not in ("q2", "q3")]))
    (row,) = done.rows
    assert (row["main_score"], row["num_with_repeats"]) == (2, 1)
    report = vlm2vec("report", stdin=done.stdout)
    assert report.exit_code == 0
    assert b"200.0" in report.stdout
    (plain,) = vlm2vec("score", stdin=jsonl(pools[:3] + pools[3:])).rows
    assert plain["num_with_repeats"] == 1
    percent = {**row, "num_with_repeats": 0}
    fact = "stdin line 1: main_score: expected a number from 0 to 1, got 2.0"
    assert refusal(vlm2vec("report", stdin=jsonl([percent])), 65) == fact


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("--per-query", "q.parquet"), ("--rankings", "r.jsonl"), ("--metrics", "hit@1"), ("--qrels", "q")],
        *[("--main-metric", "hit@1"), ("--dim", "2"), ("--candidates", "c.jsonl")],
    ],
)
def test_options_without_use_with_finished_scores_are_refused(
    vlm2vec: Runner, option: str, value: str
) -> None:
    done = vlm2vec("score", "--results", "results", option, value)
    assert refusal(done, 2) == f"--results brings finished scores, {option} has no use with it"


def test_bad_rows_can_be_skipped(vlm2vec: Runner) -> None:
    bad = {**rows()[1], "id": "bad", "embedding": [1, 0]}
    done = vlm2vec(
        "score",
        "--on-error",
        "skip",
        "--rejects",
        "bad.jsonl",
        "--allow-rejects",
        "1",
        stdin=jsonl([*rows(), bad]),
    )
    assert done.exit_code == 0
    assert done.rows[0]["num_queries"] == 3
    (reject,) = [json.loads(line) for line in (vlm2vec.work / "bad.jsonl").read_text().splitlines()]
    assert reject["place"] == "stdin line 7"
    assert "embedding has 2 dimensions" in reject["reason"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "stdin: no rows"),
        ({"embedding": [1, 0]}, "stdin line 7: embedding has 2 dimensions, the rows before have 3"),
        (
            {"fingerprint": "g"},
            "stdin line 7: fingerprint g differs from f of the rows before in dataset 'd'",
        ),
        ({"relevant": {"x": 1}}, "stdin line 7: dataset 'd': no vector for candidate 'x'"),
        (
            {"pool": ["v", "w", "x", "y"]},
            "stdin line 7: dataset 'd': no vector for 4 candidates: 'v', 'w', 'x' and 1 more",
        ),
        ({"embedding": None}, "stdin line 7: embedding: missing; expected a list of numbers"),
        ({"schema": "vlm2vec/pair@1"}, "stdin line 7: schema: expected vlm2vec/vector@1, got vlm2vec/pair@1"),
    ],
)
def test_one_line_says_what_is_wrong_with_the_data(
    vlm2vec: Runner, change: dict[str, Any], message: str
) -> None:
    stream = jsonl([*rows(), {**rows()[0], "id": "extra", **change}]) if change else b""
    assert refusal(vlm2vec("score", stdin=stream), 65) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "ngcd@5"], "--metrics: unknown metric 'ngcd@5'"),
        (["--metrics", "hit"], "--metrics: metric 'hit' needs a cutoff"),
        (
            ["--run", "r.trec", "--candidates", "c.jsonl"],
            "--run brings its own rankings, --candidates has no use with it",
        ),
        (["--rankings", "no/folder/r.jsonl"], "no/folder/r.jsonl: the folder does not exist"),
    ],
)
def test_one_line_says_what_is_wrong_with_the_command(
    vlm2vec: Runner, options: list[str], message: str
) -> None:
    assert refusal(vlm2vec("score", *options, stdin=b"not even looked at"), 2) == message


def test_mixed_fingerprints_when_told(vlm2vec: Runner) -> None:
    stream = jsonl([*rows()[:3], *rows(fingerprint="g")[3:]])
    assert vlm2vec("score", "--allow-mixed-fingerprints", stdin=stream).rows[0]["fingerprint"] == "f + g"


def test_relations_of_a_scene_graph(vlm2vec: Runner) -> None:
    (vlm2vec.work / "novel.txt").write_text("b, c\n")
    pictures = [{**row, "image_id": 7} if row["id"].startswith("q") else row for row in rows()]
    options = ["--scene-graph", "--novel", "novel.txt", "--ignore", "a", "--main-metric", "sgg_ng_recall@20"]
    (row,) = vlm2vec("score", *options, stdin=jsonl(pictures)).rows
    assert (row["main_metric"], row["main_score"]) == ("sgg_ng_recall@20", 1)
    assert row["metrics"]["sgg_recall_novel@20"] == 0.5  # one a pair, of two
    assert "sgg_recall_base@20" not in row["metrics"]  # the only other predicate is ignored
    asked = ["--scene-graph", "--metrics", "sgg_recall@10,mrr", "-o", "ten.jsonl"]
    assert vlm2vec("score", *asked, stdin=jsonl(pictures)).exit_code == 0
    ten = json.loads((vlm2vec.work / "ten.jsonl").read_text())
    assert (ten["main_metric"], list(ten["metrics"])) == ("sgg_recall@10", ["mrr", "hit@1", "sgg_recall@10"])
    alone = vlm2vec("score", "--metrics", "sgg_recall@10", stdin=jsonl(pictures))
    assert refusal(alone, 2) == "--metrics: unknown metric 'sgg_recall@10'"
    assert b"hint: --scene-graph measures those" in alone.stderr
    both = [{**ten, "model": "x", "novel": ["b", "c"]}, {**ten, "model": "y"}]
    assert "other predicates are novel (novel b, c / none)" in refusal(
        vlm2vec("report", stdin=jsonl(both)), 65
    )
    files = ["--per-query", "q.parquet", "-o", "scores.jsonl"]
    assert vlm2vec("score", *options, *files, stdin=jsonl(pictures)).exit_code == 0
    assert vlm2vec("report", "scores.jsonl", "--per-query", "q.parquet", "-o", "r.html").exit_code == 0
    assert "<h2>Examples</h2>" in (vlm2vec.work / "r.html").read_text()
