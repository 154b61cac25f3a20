"""`vlm2vec train --eval`: the scores are those of `embed | score`, the best model is kept."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import golden
from pairs import texts
from warm import Warm

LORA = ("-m", golden.MODEL, "--lora-r", "2", "--lora-dropout", "0", "--precision", "fp32", "--device", "cpu")
STEPS = ("--batch-size", "6", "--learning-rate", "0.01", "--warmup-steps", "0", "--schedule", "constant")


def items(warm: Warm, number: int) -> Path:
    rows = []
    for at, row in enumerate(texts(number)):
        dataset = "ab"[at % 2]
        rows += [
            {"id": str(at), "dataset": dataset, "role": "query", "relevant": {str(at): 1}, **row["query"]},
            {"id": str(at), "dataset": dataset, "role": "candidate", **row["positive"]},
        ]
    return warm.write("test.jsonl", rows)


def test_scores_on_the_way_are_those_of_embed_and_score(warm: Warm, tmp_path: Path) -> None:
    test, pairs = items(warm, 8), warm.write("pairs.jsonl", texts(6))
    more = ("--max-steps", "4", "--eval", test, "--eval-steps", "2")
    done = warm("train", pairs, *LORA, *STEPS, "-o", "run", *more)
    assert (done.exit_code, done.stderr) == (0, b"")
    found = [event for event in done.rows if event["event"] == "eval"]
    assert [event["step"] for event in found] == [2, 4]
    best = max(found, key=lambda event: event["score"])
    end = done.rows[-1]
    assert (end["best_step"], end["best_score"]) == (best["step"], best["score"])
    for folder, event in (("run", found[-1]), ("run/best", best)):
        warm("embed", test, "-m", folder, "--dtype", "float32", "-o", "v.parquet")
        scores = warm("score", "v.parquet").rows
        assert {row["dataset"]: row["main_score"] for row in scores} == event["dataset_score"]
        assert event["score"] == pytest.approx(sum(row["main_score"] for row in scores) / 2)
    meta = json.loads((tmp_path / "run" / "best" / "vlm2vec.json").read_text())
    assert (meta["step"], meta["evaluation"]["score"]) == (best["step"], best["score"])
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"Best mean score {best['score']:.4f}, after step {best['step']}." in card

    plain = warm("train", pairs, *LORA, *STEPS, "-o", "plain", "--max-steps", "4")
    losses = [[row["loss"] for row in run.rows if row["event"] == "step"] for run in (done, plain)]
    assert losses[0] == losses[1], "to look does not change the run"


def test_a_run_that_no_longer_improves_stops(warm: Warm, tmp_path: Path) -> None:
    test, pairs = items(warm, 8), warm.write("pairs.jsonl", texts(6))
    still = ("--learning-rate", "1e-12", "--max-steps", "50", "--early-stopping", "2")
    done = warm("train", pairs, *LORA, *STEPS, "-o", "run", "--eval", test, "--eval-steps", "1", *still)
    assert done.exit_code == 0
    assert done.stderr == b"vlm2vec: stopping early: best was step 1\n"
    assert [row["step"] for row in done.rows if row["event"] == "eval"] == [1, 2, 3]
    assert done.rows[-1]["step"] == 3
    assert load_file(tmp_path / "run" / "adapter_model.safetensors")


def test_an_evaluation_needs_something_relevant(warm: Warm) -> None:
    pairs = warm.write("pairs.jsonl", texts(6))
    test = warm.write("test.jsonl", [{"text": "a"}])
    done = warm("train", pairs, *LORA, *STEPS, "-o", "run", "--eval", test)
    assert done.exit_code == 65
    assert done.stderr == b"vlm2vec: error: --eval: no query with relevant candidates to evaluate on\n"
