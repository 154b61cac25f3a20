"""Files of `vlm2vec score`: what it reads beside rows, and the rankings, tables and folders it writes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from runner import Runner
from score_rows import ROWS, jsonl, refusal, rows

GOLDEN = Path(__file__).parent.parent / "golden" / "shared_mini"
HIT = {"q1": 1.0, "q2": 1.0, "q3": 0.0}


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


def test_what_a_trec_run_cannot_hold(vlm2vec: Runner) -> None:
    both = jsonl([*rows(dataset="x"), *rows(dataset="y")])
    done = vlm2vec("score", "--rankings", "r.trec", stdin=both)
    assert refusal(done, 2) == "--rankings: a TREC run holds one dataset, the input has 2"
    assert not list(vlm2vec.work.glob("*.trec*"))
    done = vlm2vec("score", "--rankings", "r.trec", stdin=jsonl([*rows(), {**rows()[3], "id": "a bus"}]))
    assert refusal(done, 2) == "--rankings: a TREC run cannot hold the id 'a bus'"


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
