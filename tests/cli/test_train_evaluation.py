"""`vlm2vec train --eval`: the scores are those of `embed | score`, the best model is kept."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import golden
from pairs import PICTURES, texts
from vlm2vec_cli.schemas.event import EVENT
from warm import Warm

FIELDS = [field.name for field in EVENT.fields]
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
    assert [event["best"] for event in found] == [True, best is found[1]]
    assert all(EVENT.parse({**event}, "1").keys() <= {"schema", *FIELDS} for event in done.rows)
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
    last = [event for event in done.rows if event["event"] == "step"][-1]
    assert f"{last['loss']:.4f} nats in step 4, of its pairs:" in card
    assert f"| dataset | loss |\n|---|--:|\n| default | {last['dataset_loss']['default']:.4f} |" in card
    assert f"Best mean score {best['score']:.4f}, after step {best['step']}." in card
    for name in "ab":
        numbers = [event["dataset_score"][name] for event in (best, found[-1])][: len({best["step"], 4})]
        assert "| " + " | ".join([name, *(f"{number:.4f}" for number in numbers)]) + " |" in card

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


QUERY = {"id": "q", "text": "a", "relevant": {"c": 1}}
CANDIDATE = {"id": "c", "role": "candidate", "text": "b"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "a"}], ["--eval: no query with relevant candidates to evaluate on"]),
        (
            [QUERY, CANDIDATE, {**QUERY, "id": "p", "relevant": {"c": 1, "d": 1}}],
            [
                "test.jsonl line 3: dataset 'default': no row for candidate 'd'",
                "hint: pools and relevant may name only candidates of the same dataset",
            ],
        ),
        (
            [QUERY, CANDIDATE, {**QUERY, "id": "p", "pool": ["c", "e"]}],
            [
                "test.jsonl line 3: dataset 'default': no row for candidate 'e'",
                "hint: pools and relevant may name only candidates of the same dataset",
            ],
        ),
        (
            [QUERY, CANDIDATE, {"text": "a", "dataset": "d"}],
            ["test.jsonl: dataset 'd': no query has a relevant candidate"],
        ),
        (
            [QUERY, CANDIDATE, QUERY],
            ["test.jsonl line 3: id 'q' is already that of another query of dataset 'default'"],
        ),
        (
            [{**QUERY, "main_metric": "hitt@1"}, CANDIDATE],
            ["test.jsonl: dataset 'default': main_metric: unknown metric 'hitt@1'"],
        ),
    ],
)
def test_an_evaluation_is_checked_before_the_training(warm: Warm, rows: list[dict], said: list[str]) -> None:
    pairs = warm.write("pairs.jsonl", texts(6))
    warm.write("test.jsonl", rows)
    done = warm("train", pairs, *LORA, *STEPS, "-o", "run", "--eval", "test.jsonl")
    assert (done.exit_code, done.stdout) == (65, b"")
    lines = done.stderr.decode().splitlines()
    assert lines[: len(said)] == [f"vlm2vec: error: {said[0]}", *said[1:]]


def test_a_missing_picture_of_the_evaluation_loses_no_step(warm: Warm, tmp_path: Path) -> None:
    pairs = warm.write("pairs.jsonl", texts(6))
    warm.write("test.jsonl", [QUERY, CANDIDATE, {**CANDIDATE, "id": "d", "image": "nowhere.png"}])
    run = ("train", pairs, *LORA, *STEPS, "-o", "run", "--eval", "test.jsonl", "--max-steps", "2")
    done = warm(*run)
    assert done.exit_code == 66
    assert [event["event"] for event in done.rows] == ["start", "step", "step", "checkpoint"]
    warning, error = done.stderr.decode().splitlines()[:2]
    assert warning == "vlm2vec: warning: the evaluation after step 2 failed; run/checkpoint-2 is saved"
    assert error.startswith("vlm2vec: error: test.jsonl line 3: image nowhere.png: ")
    shutil.copy(golden.ROOT / PICTURES[0]["query"]["image"], tmp_path / "nowhere.png")
    assert [event["event"] for event in warm(*run).rows] == ["start", "eval", "end"]
