"""The commands as one pipe and step by step: the same rows, vectors and scores."""

import json
import subprocess

import numpy as np

from runner import Runner
from warm import Warm

FEW = "prepare quickstart --task Quickstart_kind --task Quickstart_choice_vqa --limit 2"


def test_one_pipe_is_the_steps_one_by_one(vlm2vec: Runner, warm: Warm) -> None:
    program = " ".join(vlm2vec.program)
    commands = (
        FEW,
        "embed -m tiny --dtype float32 --max-pixels 6272",
        "score --bootstrap 20",
        "report",
    )
    pipe = " | ".join(f"{program} {command}" for command in commands)
    whole = subprocess.run(
        ["bash", "-o", "pipefail", "-c", pipe],
        cwd=vlm2vec.work,
        env=vlm2vec.env({"OMP_NUM_THREADS": "1"}),
        capture_output=True,
        timeout=600,
    )
    print(whole.stderr.decode())
    assert whole.returncode == 0
    data = b""
    for command in commands:
        done = warm(*command.split(), stdin=data)
        assert done.exit_code == 0
        data = done.stdout
    assert data == whole.stdout
    assert b"hit@1" in data


def test_a_model_trained_on_quickstart_rows_embeds_and_is_scored(warm: Warm) -> None:
    pairs = warm("prepare", "quickstart", "--split", "train", "--limit", "1")
    assert pairs.exit_code == 0
    assert {row["schema"] for row in pairs.rows} == {"vlm2vec/pair@1"}
    options = ("--batch-size", "4", "--max-steps", "2", "--max-pixels", "6272", "--precision", "fp32")
    log = warm("train", "-m", "tiny", "-o", "run", *options, stdin=pairs.stdout)
    assert log.exit_code == 0
    assert [row["event"] for row in log.rows] == ["start", "step", "step", "end"]
    items = warm(*FEW.split())
    vectors = warm("embed", "-m", "run", "--format", "jsonl", "--dtype", "float32", stdin=items.stdout)
    assert len(vectors.rows) == len(items.rows)
    for vector, item in zip(vectors.rows, items.rows, strict=True):
        assert {**vector, "schema": item["schema"]}.items() >= item.items()
        assert np.linalg.norm(vector["embedding"]) > 0.999
    scores = warm("score", "--bootstrap", "20", stdin=vectors.stdout)
    assert scores.exit_code == 0
    assert all(row["model"] == "run" for row in scores.rows)
    report = warm("report", "--format", "json", stdin=scores.stdout)
    assert report.exit_code == 0
    assert json.loads(report.stdout)
