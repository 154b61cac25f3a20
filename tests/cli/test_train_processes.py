"""Several processes train one model: the same update as one, and they stop together."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

import golden
from pairs import PICTURES, texts
from runner import Done, Runner

pytestmark = pytest.mark.slow

LORA = ("-m", golden.MODEL, "--media-root", golden.ROOT, "--lora-r", "2", "--lora-dropout", "0", "-q")
STEPS = ("--batch-size", "6", "--warmup-steps", "0", "--precision", "fp32", "--device", "cpu")


def rows() -> list[dict[str, Any]]:
    """Pictures and texts with negatives of varying number, so that no two processes get alike shares."""
    return [
        {**row, "negatives": [{"text": f"not {at} {one}"} for one in range(at % 4)]}
        for at, row in enumerate([*texts(8), *PICTURES])
    ]


def train(vlm2vec: Runner, *args: str | Path, number: int, stdin: list[dict[str, Any]] | None = None) -> Done:
    data = b"".join(json.dumps(row).encode() + b"\n" for row in stdin or [])
    env = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    return vlm2vec("train", *args, *LORA, *STEPS, "--num-processes", str(number), stdin=data, env=env)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "adapter_model.safetensors")


def test_two_processes_make_the_update_of_one(vlm2vec: Runner, tmp_path: Path) -> None:
    vlm2vec.write("pairs.jsonl", rows())
    for number in (1, 2, 4):
        for chunk in ("50",) if number > 1 else ("50", "100000"):
            out, args = f"{number}-{chunk}", ("pairs.jsonl", "--max-steps", "3", "--chunk-tokens", chunk)
            done = train(vlm2vec, *args, "-o", out, "--augment", "light", number=number)
            assert (done.exit_code, done.stderr) == (0, b"")
            assert [row["event"] for row in done.rows] == ["start", "step", "step", "step", "end"]
    before = weights(tmp_path / "1-50")
    for out in ("1-100000", "2-50", "4-50"):
        after = weights(tmp_path / out)
        assert max(float(np.abs(after[name] - before[name]).max()) for name in before) < 1e-6, out


def test_an_error_of_one_is_said_once_and_ends_all(vlm2vec: Runner, tmp_path: Path) -> None:
    bad = [*rows(), {"query": {"image": "nowhere.png"}, "positive": {"text": "x"}}]
    done = train(vlm2vec, "-o", "run", "--max-steps", "9", number=2, stdin=bad)
    assert done.exit_code == 66
    assert done.stderr.count(b"error:") == 1
    assert done.stderr.startswith(b"vlm2vec: error: stdin line 13: image nowhere.png: ")
    skip = ("--on-error", "skip", "--rejects", "rejects.jsonl", "--allow-rejects", "1")
    done = train(vlm2vec, "-o", "run", "--max-steps", "9", *skip, number=2, stdin=bad)
    assert done.exit_code == 0
    assert len((tmp_path / "rejects.jsonl").read_text().splitlines()) == 1
    assert train(vlm2vec, "none.jsonl", "-o", "run", number=2).stderr == (
        b"vlm2vec: error: none.jsonl: no such file\n"
    )


def test_all_agree_on_the_step_after_which_they_stop(vlm2vec: Runner, tmp_path: Path) -> None:
    vlm2vec.write("pairs.jsonl", rows())
    alike = ("train", "pairs.jsonl", *LORA, *STEPS, "-o", "run", "--schedule", "constant")
    run, env, pipe = (*alike, "--num-processes", "2"), {"OMP_NUM_THREADS": "1"}, subprocess.PIPE
    with vlm2vec.start(*run, "--max-steps", "100000", env=env, stdout=pipe, stderr=pipe) as p:
        assert p.stdout
        assert p.stderr
        for line in p.stdout:
            if json.loads(line)["event"] == "step":
                break
        os.kill(p.pid, signal.SIGUSR1)
        events = [json.loads(line) for line in p.stdout]
        said = p.stderr.read().decode().splitlines()
    assert p.returncode == 75
    step = events[-1]["step"]
    assert events[-1]["event"] == "checkpoint"
    assert said[0] == f"vlm2vec: error: stopped by SIGUSR1 after step {step}"
    rest = vlm2vec(*run, "--max-steps", str(step + 1), env=env)
    assert rest.exit_code == 0
    assert rest.rows[0]["first_step"] == step
    alone = vlm2vec(*alike, "--max-steps", str(step + 1), env=env)
    assert alone.exit_code == 2
    assert b"num_processes" in alone.stderr


def test_one_that_is_killed_ends_the_others(vlm2vec: Runner) -> None:
    vlm2vec.write("pairs.jsonl", rows())
    run = ("train", "pairs.jsonl", *LORA, *STEPS, "-o", "run", "--num-processes", "2")
    pipe = subprocess.PIPE
    with vlm2vec.start(*run, "--max-steps", "100000", stdout=pipe, stderr=pipe) as p:
        assert p.stdout
        assert p.stderr
        for line in p.stdout:
            if json.loads(line)["event"] == "step":
                break
        psutil.Process(p.pid).children()[1].kill()
        p.stdout.read()
        said = p.stderr.read().decode()
    assert p.returncode == 69
    assert "vlm2vec: error: process 1 of 2 was ended by SIGKILL" in said


def test_other_launchers_are_understood(vlm2vec: Runner, tmp_path: Path) -> None:
    vlm2vec.write("pairs.jsonl", rows())
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    other = Runner(tmp_path, (*torchrun, "vlm2vec_cli"))
    done = other("train", "pairs.jsonl", *LORA, *STEPS, "-o", "run", "--max-steps", "1")
    assert done.exit_code == 0
    assert [row["event"] for row in done.rows] == ["start", "step", "end"], "one process speaks"
    assert done.rows[0]["processes"] == 2
    refused = other("train", *LORA, *STEPS, "-o", "run")
    assert b"several processes cannot read one stdin" in refused.stderr
