"""Several processes train one model: the same update as one, and they stop together."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

import golden
from pairs import PICTURES, same, texts, weights
from runner import Done, Runner

pytestmark = pytest.mark.slow

LORA = ("-m", golden.MODEL, "--media-root", golden.ROOT, "--lora-r", "2", "--lora-dropout", "0", "-q")
ENV = {"OMP_NUM_THREADS": "1"}
STEPS = ("--batch-size", "6", "--warmup-steps", "0", "--precision", "fp32", "--device", "cpu")
RUN = (*LORA, *STEPS)


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


def numbers(done: Done) -> list[float]:
    """Loss and gradient norm of each step: Adam's update alone is the same for gradients of any scale."""
    return [row[name] for row in done.rows if row["event"] == "step" for name in ("loss", "grad_norm")]


def test_two_processes_make_the_update_of_one(vlm2vec: Runner, tmp_path: Path) -> None:
    vlm2vec.write("pairs.jsonl", rows())
    found = {}
    for number in (1, 2, 4):
        for chunk in ("50",) if number > 1 else ("50", "100000"):
            out, args = f"{number}-{chunk}", ("pairs.jsonl", "--max-steps", "3", "--chunk-tokens", chunk)
            done = train(vlm2vec, *args, "-o", out, "--augment", "light", number=number)
            assert (done.exit_code, done.stderr) == (0, b"")
            assert [row["event"] for row in done.rows] == ["start", "step", "step", "step", "end"]
            found[out] = numbers(done)
    before = weights(tmp_path / "1-50")
    for out in ("1-100000", "2-50", "4-50"):
        after = weights(tmp_path / out)
        assert max(float((after[name] - before[name]).abs().max()) for name in before) < 1e-6, out
        assert found[out] == pytest.approx(found["1-50"], rel=1e-5), out


def test_all_weights_move_alike_on_two_processes(vlm2vec: Runner, tmp_path: Path) -> None:
    """With weight decay, and a step without pictures after one with: what a parameter without a gradient goes
    through is the same, too.

    Adam divides by the size of a gradient, so it makes a step of the rounding of one that is nearly zero. As
    a whole the two updates differ no more than those of one process with other chunks.
    """
    plain = ("--full", "--weight-decay", "0.5", "--learning-rate", "1e-4", "--seed", "2")
    found = {}
    vlm2vec.write("pairs.jsonl", [*texts(6), *PICTURES[:2], *texts(10)[6:]])
    for number, chunk in ((1, "50"), (1, "100000"), (2, "50")):
        out = f"{number}-{chunk}"
        args = ("pairs.jsonl", *plain, "--chunk-tokens", chunk, "-o", out)
        done = train(vlm2vec, *args, number=number)
        assert (done.exit_code, done.stderr) == (0, b"")
        found[out] = numbers(done)
        assert found[out] == pytest.approx(found["1-50"], rel=1e-5), out
    start = load_file(golden.MODEL / "model.safetensors")
    moved = {
        out: torch.cat([(tensor - start[name]).flatten() for name, tensor in weights(tmp_path / out).items()])
        for out in found
    }
    for out in ("1-100000", "2-50"):
        away = float((moved[out] - moved["1-50"]).norm() / moved["1-50"].norm())
        assert away < 1e-3, (out, away)


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


def test_an_error_of_an_evaluation_is_said_once_and_loses_no_step(vlm2vec: Runner, tmp_path: Path) -> None:
    """Each process reads every second row: of those that cannot be read one is the second process's."""
    query = {"id": "q", "text": "a", "relevant": {"c": 1}}
    for bad, place in ((2, 2), (3, 3)):
        items = [query, *({"id": one, "role": "candidate", "text": one} for one in "cde")]
        items[bad - 1]["image"] = "nowhere.png"
        vlm2vec.write("eval.jsonl", items)
        args = ("-o", f"run-{bad}", "--eval", "eval.jsonl", "--max-steps", "2")
        done = train(vlm2vec, *args, number=2, stdin=rows())
        assert (done.exit_code, done.stderr.count(b"error:")) == (66, 1)
        assert f"vlm2vec: error: eval.jsonl line {place}: image nowhere.png: " in done.stderr.decode()
        assert (tmp_path / f"run-{bad}" / "checkpoint-2" / "training_state.pt").exists()
    vlm2vec.write("eval.jsonl", [query])
    done = train(vlm2vec, *args, number=2, stdin=rows())
    assert done.stderr.splitlines()[0] == (
        b"vlm2vec: error: eval.jsonl line 1: dataset 'default': no row for candidate 'c'"
    )
    assert (done.exit_code, done.stderr.count(b"error:")) == (65, 1)


def test_all_agree_on_the_step_after_which_they_stop(vlm2vec: Runner, tmp_path: Path) -> None:
    """A run stopped by one signal after the other, each time gone on with, is the run that nobody stopped."""
    vlm2vec.write("pairs.jsonl", rows())
    alike = (
        "train",
        "pairs.jsonl",
        *RUN,
        "--lora-dropout",
        "0.1",
        "--schedule",
        "constant",
        "--num-processes",
    )
    run, pipe = (*alike, "2", "-o"), subprocess.PIPE
    losses, done = [], 0
    for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        with vlm2vec.start(*run, "cut", "--max-steps", "100000", env=ENV, stdout=pipe, stderr=pipe) as p:
            assert p.stdout
            assert p.stderr
            start = json.loads(p.stdout.readline())
            events = [json.loads(p.stdout.readline())]
            os.kill(p.pid, kind)
            events += [json.loads(line) for line in p.stdout]
            said = p.stderr.read().decode().splitlines()
        assert p.returncode == 75
        assert (start["event"], start["first_step"]) == ("start", done)
        losses += [event["loss"] for event in events if event["event"] == "step"]
        done = events[-1]["step"]
        assert events[-1]["event"] == "checkpoint"
        assert said == [
            f"vlm2vec: error: stopped by {kind.name} after step {done}",
            "hint: run the same command again to go on",
        ]
    last = ("--max-steps", str(done + 1))
    rest, whole = vlm2vec(*run, "cut", *last, env=ENV), vlm2vec(*run, "whole", *last, env=ENV)
    assert rest.exit_code == whole.exit_code == 0
    losses += [event["loss"] for event in rest.rows if event["event"] == "step"]
    assert losses == [event["loss"] for event in whole.rows if event["event"] == "step"]
    assert same(tmp_path / "cut", tmp_path / "whole")
    alone = vlm2vec(*alike, "1", "-o", "cut", *last, env=ENV)
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


def test_other_launchers_make_the_same_run(vlm2vec: Runner, tmp_path: Path) -> None:
    """torchrun, accelerate and srun (its variables, set by hand) as --num-processes does."""
    vlm2vec.write("pairs.jsonl", rows())
    run = ("train", "pairs.jsonl", *RUN, "--max-steps", "2", "-o")
    assert vlm2vec(*run, "ours", "--num-processes", "2", env=ENV).exit_code == 0
    (tmp_path / "two.yaml").write_text("distributed_type: MULTI_GPU\nuse_cpu: true\nnum_processes: 2\n")
    port = ("--main_process_port", "0")
    for name, launcher in {
        "torchrun": ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"),
        "accelerate": ("accelerate.commands.launch", "--config_file", "two.yaml", *port, "-m"),
    }.items():
        other = Runner(tmp_path, (sys.executable, "-m", *launcher, "vlm2vec_cli"))
        done = other(*run, name, env=ENV)
        assert done.exit_code == 0, done.stderr
        assert [row["event"] for row in done.rows] == ["start", "step", "step", "end"], "one process speaks"
        assert done.rows[0]["processes"] == 2
        assert same(tmp_path / "ours", tmp_path / name)
    slurm = {**ENV, "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}
    slurm["SLURM_JOB_ID"] = str(os.getpid())
    tasks = [
        vlm2vec.start(
            *run, "srun", env={**slurm, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}, stdout=subprocess.PIPE
        )
        for rank in "01"
    ]
    out = [task.communicate()[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0]
    assert (len(out[0].splitlines()), out[1]) == (4, b"")
    assert same(tmp_path / "ours", tmp_path / "srun")


def test_what_other_launchers_cannot_ask_for(vlm2vec: Runner) -> None:
    refused = vlm2vec("train", *RUN, "-o", "run", env={"RANK": "1", "WORLD_SIZE": "2"})
    assert b"several processes cannot read one stdin" in refused.stderr
    data = b"".join(json.dumps(row).encode() + b"\n" for row in texts(2))
    refused = vlm2vec("train", *RUN, "-o", "run", stdin=data, env={"ACCELERATE_USE_DEEPSPEED": "true"})
    assert refused.exit_code == 2
    assert b"asks for DEEPSPEED: not possible" in refused.stderr
