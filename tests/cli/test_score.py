"""`vlm2vec score` as users run it: pipes, files, refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from runner import Done, Runner

GOLDEN = Path(__file__).parent.parent / "golden" / "shared_mini"
ROWS: list[dict[str, Any]] = [
    {
        "id": "q1",
        "dataset": "d",
        "text": "one",
        "image": "q/1.jpg",
        "relevant": {"a": 1.0},
        "embedding": [1, 0, 0],
    },
    {"id": "q2", "dataset": "d", "text": "two", "relevant": {"b": 2.0, "c": 1.0}, "embedding": [0, 1, 0.1]},
    {"id": "q3", "dataset": "d", "text": "three", "relevant": {"a": 1.0}, "embedding": [0, 0.2, 1]},
    {"id": "a", "dataset": "d", "role": "candidate", "image": "a.jpg", "embedding": [1, 0, 0]},
    {"id": "b", "dataset": "d", "role": "candidate", "video": ["b/1.jpg", "b/2.jpg"], "embedding": [0, 1, 0]},
    {"id": "c", "dataset": "d", "role": "candidate", "text": "see", "embedding": [0, 0, 1]},
]
MADE_BY = {"model": "m", "fingerprint": "f"}
HIT = {"q1": 1.0, "q2": 1.0, "q3": 0.0}


def rows(**more: Any) -> list[dict[str, Any]]:
    return [{**row, **MADE_BY, **more} for row in ROWS]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def refusal(done: Done, code: int) -> str:
    assert (done.exit_code, done.stdout) == (code, b"")
    first, _, _ = done.stderr.decode().partition("\n")
    assert first.startswith("vlm2vec: error: ")
    return first.removeprefix("vlm2vec: error: ")


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


def test_the_reference_from_files_of_every_kind(vlm2vec: Runner) -> None:
    shutil.copy(GOLDEN / "vectors.jsonl", vlm2vec.work)
    done = vlm2vec(
        "score", "vectors.jsonl", "--rankings", "r.jsonl", "--bootstrap", "0", "-o", "scores.jsonl"
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"", b"")
    row = json.loads((vlm2vec.work / "scores.jsonl").read_text())
    expected = json.loads((GOLDEN / "shared_mini_score.json").read_text())
    assert {name: row["metrics"][name] for name in expected if "@" in name} == pytest.approx(
        {name: value for name, value in expected.items() if "@" in name}, abs=1e-9
    )
    assert "ci95" not in row
    predictions = [json.loads(line) for line in (GOLDEN / "shared_mini_pred.jsonl").read_text().splitlines()]
    written = [json.loads(line) for line in (vlm2vec.work / "r.jsonl").read_text().splitlines()]
    assert [one["candidates"] for one in written] == [one["prediction"] for one in predictions]
    shutil.copy(GOLDEN / "shared_mini_pred.jsonl", vlm2vec.work)
    for run in ("r.jsonl", "shared_mini_pred.jsonl"):
        (again,) = vlm2vec("score", "--run", run, "--bootstrap", "0").rows
        assert (again["dataset"], again["metrics"]) == ("shared_mini", row["metrics"])


def test_parquet_and_candidates_in_a_file_of_their_own(vlm2vec: Runner) -> None:
    vlm2vec.write("q.jsonl", rows()[:3])
    vlm2vec.write("c.jsonl", [{**row, "role": "query"} for row in rows()[3:]])
    (row,) = vlm2vec("score", "q.jsonl", "--candidates", "c.jsonl").rows
    assert row == vlm2vec("score", stdin=jsonl(rows())).rows[0]
    done = vlm2vec("score", "q.jsonl", "--candidates", "c.jsonl", "-o", "s.parquet")
    assert done.exit_code == 0
    assert pq.read_table(vlm2vec.work / "s.parquet")["main_score"].to_pylist() == [pytest.approx(2 / 3)]


@pytest.mark.parametrize(
    "judgements", ["q1 0 c 1\nq2 0 c 1\n", "query-id\tcorpus-id\tscore\nq1\tc\t1\nq2\tc\t1\n"]
)
def test_qrels_replace_the_judgements_of_the_rows(vlm2vec: Runner, judgements: str) -> None:
    vlm2vec.write("qrels", judgements)
    done = vlm2vec("score", "--qrels", "qrels", "--metrics", "RR,P_1", stdin=jsonl(rows()))
    (row,) = done.rows
    assert row["num_queries"] == 2
    assert row["num_without_relevant"] == 1
    assert row["metrics"]["mrr"] == pytest.approx(
        (1 / 2 + 1 / 2) / 2
    )  # c ties with b for q1, the larger id first
    assert b"dataset 'd': 1 of 3 queries have nothing relevant and are left out" in done.stderr


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


def test_trec_is_a_format_of_rankings(vlm2vec: Runner) -> None:
    done = vlm2vec("score", "--rankings", "run", "--format", "trec", stdin=jsonl(rows()))
    assert done.rows[0]["dataset"] == "d"
    assert (vlm2vec.work / "run").read_text().startswith("q1 Q0 a 1 1.0 m\n")
    alone = vlm2vec("score", "--format", "trec", stdin=jsonl(rows()))
    assert refusal(alone, 2) == "--format trec is of rankings"


def test_a_run_and_vectors_of_one_evaluation_have_its_digests(vlm2vec: Runner) -> None:
    vlm2vec.write("rows.jsonl", rows())
    (whole,) = vlm2vec("score", "rows.jsonl", "--rankings", "r.trec").rows
    (run,) = vlm2vec("score", "rows.jsonl", "--run", "r.trec").rows
    assert [run[name] == whole[name] for name in ("judgement_digest", "data_digest")] == [True, True]
    assert "text_digest" not in run
    vlm2vec.write("qrels", "".join(f"{one['id']} 0 {name} {gain}\n" for one in ROWS[:3]
                                   for name, gain in one["relevant"].items()))  # fmt: skip
    (bare,) = vlm2vec("score", "--run", "r.trec", "--qrels", "qrels").rows
    assert bare["judgement_digest"] == whole["judgement_digest"]
    assert "data_digest" not in bare


def test_a_trec_run_there_and_back(vlm2vec: Runner) -> None:
    done = vlm2vec("score", "--rankings", "r.trec", "--top-k", "2", stdin=jsonl(rows()))
    assert done.exit_code == 0
    lines = (vlm2vec.work / "r.trec").read_text().splitlines()
    assert lines[0] == "q1 Q0 a 1 1.0 m"
    assert lines[1] == "q1 Q0 c 2 0.0 m"
    assert len(lines) == 6
    vlm2vec.write("qrels", "q1 0 a 1\nq2 0 b 2\nq2 0 c 1\nq3 0 a 1\nq4 0 a 1\n")
    done = vlm2vec("score", "--run", "r.trec", "--qrels", "qrels", "--metrics", "hit@1")
    (row,) = done.rows
    assert (row["dataset"], row["num_queries"], row["main_score"]) == ("default", 4, 0.5)
    assert b"1 queries have no ranking and count as 0" in done.stderr


def test_a_run_for_the_queries_of_item_rows(vlm2vec: Runner) -> None:
    items = [{name: value for name, value in row.items() if name != "embedding"} for row in ROWS]
    vlm2vec.write("items.jsonl", items)
    vlm2vec.write("r.trec", "q1 Q0 a 1 9 x\nq3 Q0 b 1 9 x\nq3 Q0 a 2 8 x\nnobody Q0 a 1 1 x\n")
    done = vlm2vec("score", "items.jsonl", "--run", "r.trec", "--per-query", "p.parquet")
    (row,) = done.rows
    assert (row["dataset"], row["main_score"]) == ("d", pytest.approx(1 / 3))
    assert b"rankings of query 'nobody' are not used" in done.stderr
    table = pq.read_table(vlm2vec.work / "p.parquet").to_pylist()
    assert [(one["query"], one["rank"], one["num_ranked"]) for one in table] == [
        ("q1", 1, 1),
        ("q2", None, 0),
        ("q3", 2, 2),
    ]
    assert table[0]["candidates"][0]["image"] == ["a.jpg"]


def test_the_per_query_file(vlm2vec: Runner) -> None:
    vlm2vec.write("v.jsonl", rows())
    done = vlm2vec("score", "v.jsonl", "--per-query", "p.parquet", "--main-metric", "nDCG@3")
    assert done.exit_code == 0
    file = pq.ParquetFile(vlm2vec.work / "p.parquet")
    about = json.loads(file.schema_arrow.metadata[b"vlm2vec"])
    assert (about["schema"], about["similarity"], about["ties"]) == ("vlm2vec/per-query@1", "cosine", "id")
    assert file.schema_arrow.names == [
        *("dataset", "query", "model", "fingerprint", "main_metric", "num_ranked", "rank"),
        *("text", "image", "video", "instruction", "media_root", "relevant", "candidates"),
        *about["metrics"],
    ]
    first, second, third = file.read().to_pylist()
    root = str(vlm2vec.work)
    nothing = dict.fromkeys(("text", "image", "video", "instruction"))
    assert {row["query"]: row["hit@1"] for row in (first, second, third)} == HIT
    assert (first["main_metric"], first["rank"], first["num_ranked"]) == ("ndcg_linear@3", 1, 3)
    assert (first["text"], first["image"], first["media_root"]) == ("one", ["q/1.jpg"], root)
    assert third["rank"] == 3
    assert second["relevant"] == [
        {"id": "b", "gain": 2.0, **nothing, "video": ["b/1.jpg", "b/2.jpg"], "media_root": root},
        {"id": "c", "gain": 1.0, **nothing, "text": "see", "media_root": root},
    ]
    assert [(one["id"], one["gain"]) for one in second["candidates"]] == [("b", 2.0), ("c", 1.0), ("a", 0.0)]
    assert first["candidates"][0]["score"] == 1.0
    means = {name: np.mean([row[name] for row in (first, second, third)]) for name in about["metrics"]}
    assert means == pytest.approx(done.rows[0]["metrics"])


def test_a_metric_of_another_dataset_is_null(vlm2vec: Runner) -> None:
    stream = jsonl([*rows(dataset="x", main_metric="RR@3"), *rows(dataset="y")])
    vlm2vec("score", "--metrics", "P@1", "--per-query", "p.parquet", stdin=stream)
    table = pq.read_table(vlm2vec.work / "p.parquet")
    assert table["mrr@3"].null_count == table["hit@1"].null_count == 3
    assert table["precision@1"].null_count == 0


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


def test_what_a_trec_run_cannot_hold(vlm2vec: Runner) -> None:
    both = jsonl([*rows(dataset="x"), *rows(dataset="y")])
    done = vlm2vec("score", "--rankings", "r.trec", stdin=both)
    assert refusal(done, 2) == "--rankings: a TREC run holds one dataset, the input has 2"
    assert not list(vlm2vec.work.glob("*.trec*"))
    done = vlm2vec("score", "--rankings", "r.trec", stdin=jsonl([*rows(), {**rows()[3], "id": "a bus"}]))
    assert refusal(done, 2) == "--rankings: a TREC run cannot hold the id 'a bus'"


def test_mixed_fingerprints_when_told(vlm2vec: Runner) -> None:
    stream = jsonl([*rows()[:3], *rows(fingerprint="g")[3:]])
    assert vlm2vec("score", "--allow-mixed-fingerprints", stdin=stream).rows[0]["fingerprint"] == "f + g"


def test_a_missing_file_is_66(vlm2vec: Runner) -> None:
    assert refusal(vlm2vec("score", "--run", "none.trec"), 66) == "none.trec: no such file"


def test_a_folder_of_shards_at_several_sizes(vlm2vec: Runner) -> None:
    shards = vlm2vec.work / "vectors"
    shards.mkdir()
    (shards / "part-0.jsonl").write_bytes(jsonl(rows()[:2]))
    (shards / "part-1.jsonl").write_bytes(jsonl(rows()[2:]))
    done = vlm2vec("score", "vectors", "--dim", "3", "--precision", "float32,binary", "--metrics", "hit@1")
    assert [(row["dim"], row["precision"]) for row in done.rows] == [(3, "float32"), (3, "binary")]
    assert done.rows[0]["main_score"] == pytest.approx(2 / 3)
    assert done.rows[0]["data_digest"] == done.rows[1]["data_digest"]
    again = vlm2vec("score", stdin=jsonl(rows()))
    assert again.rows[0]["data_digest"] == done.rows[0]["data_digest"]


def test_float_vectors_of_another_file_put_binary_ones_in_order(vlm2vec: Runner) -> None:
    signs = [  # a differs from the query in one bit, b in none
        {"id": "q", "relevant": {"a": 1}, "embedding": [254], "precision": "binary"},
        {"id": "a", "role": "candidate", "embedding": [255], "precision": "binary"},
        {"id": "b", "role": "candidate", "embedding": [254], "precision": "binary"},
    ]
    numbers = {"q": [0.9, 0.6], "a": [0.8, 0.6], "b": [0.6, 0.8]}
    whole = [{**row, "embedding": numbers[row["id"]], "precision": "float32"} for row in signs]
    (vlm2vec.work / "floats.jsonl").write_bytes(jsonl(whole))
    coarse = vlm2vec("score", stdin=jsonl(signs))
    assert coarse.rows[0]["main_score"] == 0
    fine = vlm2vec("score", "--rescore", "floats.jsonl", stdin=jsonl(signs))
    assert (fine.rows[0]["main_score"], fine.rows[0]["rescore"]) == (1, 100)
    short = vlm2vec("score", "--rescore", "floats.jsonl", "--rescore-depth", "1", stdin=jsonl(signs))
    assert short.rows[0]["main_score"] == 0
    wrong = vlm2vec("score", "--rescore", "100", stdin=jsonl(signs))
    assert (wrong.exit_code, b"--rescore-depth 100" in wrong.stderr) == (2, True)


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


def test_mteb_there_and_back(vlm2vec: Runner) -> None:
    assert vlm2vec("score", "--format", "mteb", "-o", "results", stdin=jsonl(rows())).exit_code == 0
    assert (vlm2vec.work / "results" / "m" / "f" / "model_meta.json").exists()
    (vlm2vec.work / "file").write_bytes(b"")
    done = vlm2vec("score", "--format", "mteb", "-o", "file/results", stdin=jsonl(rows()))
    assert refusal(done, 2) == "file/results: the folder cannot be made: Not a directory"
    (row,) = vlm2vec("score", "--results", "results").rows
    (first,) = vlm2vec("score", stdin=jsonl(rows())).rows
    assert row["metrics"] == pytest.approx(first["metrics"])
    assert (row["model"], row["main_metric"], row["main_score"]) == ("m", "hit@1", first["main_score"])
