"""Processes that share one model (FSDP) make the update of one process, and the same checkpoints."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

import golden
from pairs import PICTURES, same, texts, weights
from runner import Done, Runner
from warm import Server, Warm

pytestmark = pytest.mark.slow

RUN = (
    *("train", "pairs.jsonl", "-m", golden.MODEL, "--media-root", golden.ROOT, "-q", "--device", "cpu"),
    *("--batch-size", "6", "--warmup-steps", "0", "--schedule", "constant", "--chunk-tokens", "50"),
)
LORA = ("--lora-r", "2", "--lora-dropout", "0", "--precision", "fp32")
FULL = ("--full", "--precision", "fp32", "--learn-temperature", "--learning-rate", "1e-5")
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
NUMBERS = {"loss", "grad_norm", "score", "parameters", "trainable_parameters"}
CONFIG = """
distributed_type: FSDP
num_processes: 2
fsdp_config:
  fsdp_version: 2
  fsdp_reshard_after_forward: true
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    found = [Server(tmp_path_factory.mktemp("server"), "vlm2vec_cli.training.sharded") for _ in range(2)]
    yield found
    for one in found:
        one.close()


class Members:
    """Runs in a folder of their own, of one process or of two that share a model."""

    def __init__(self, work: Path, servers: list[Server]) -> None:
        self.servers = servers
        self.warm = [Warm(work, server=server) for server in servers]
        self.warm[0].write("pairs.jsonl", rows())
        self.warm[0].write("eval.jsonl", items())

    def alone(self, *args: str | Path) -> Done:
        return self.warm[0](*RUN, *args)

    def both(self, *args: str | Path, shared: bool = True) -> list[Done]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        env = {**(FSDP if shared else {}), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

        def member(rank: int) -> Done:
            return self.warm[rank](*RUN, *args, env={**env, "RANK": str(rank), "LOCAL_RANK": str(rank)})

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(member, range(2)))


@pytest.fixture
def members(tmp_path: Path, servers: list[Server]) -> Members:
    return Members(tmp_path, servers)


def rows() -> list[dict[str, Any]]:
    """Pictures in some chunks only, negatives of varying number: processes have unequal passes to make."""
    return [
        {**row, "negatives": [{"text": f"not {at} {one}"} for one in range(at % 4)]}
        for at, row in enumerate([*texts(8), *PICTURES])
    ]


def items() -> list[dict[str, Any]]:
    """An odd number of rows to evaluate on."""
    return [
        *(
            {"id": f"q{at}", "dataset": "a", "role": "query", "relevant": {f"c{at}": 1}, **row["query"]}
            for at, row in enumerate(texts(5))
        ),
        *(
            {"id": f"c{at}", "dataset": "a", "role": "candidate", **row["positive"]}
            for at, row in enumerate(texts(8))
        ),
    ]


def near(left: Path, right: Path) -> bool:
    """Whether two folders hold the same tensors but for rounding."""
    ones, others = weights(left), weights(right)
    assert ones.keys() == others.keys()
    return max(float((ones[name] - others[name]).abs().max()) for name in ones) < 1e-6


def test_a_model_in_parts_is_trained_evaluated_and_saved_as_a_whole_one(
    members: Members, tmp_path: Path
) -> None:
    args = (*FULL, "--max-steps", "3", "--eval", "eval.jsonl", "--eval-steps", "2", "--save-steps", "2", "-o")
    one, (two, other) = members.alone(*args, "one"), members.both(*args, "two")
    assert [(done.exit_code, done.stderr) for done in (one, two, other)] == [(0, b"")] * 3
    assert other.stdout == b""
    for left, right in zip(one.rows, two.rows, strict=True):
        assert left["event"] == right["event"]
        for name in NUMBERS & left.keys():
            assert right[name] == pytest.approx(left[name], rel=1e-5), name
    # Adam makes much of the rounding of gradients that are nearly zero: equal shares are compared.
    assert members.both(*args, "whole", shared=False)[0].exit_code == 0
    assert near(tmp_path / "whole", tmp_path / "two")
    assert near(tmp_path / "whole" / "best", tmp_path / "two" / "best")

    # The third step again: shared from a checkpoint of whole models, and alone from a shared one.
    for name in ("whole", "two"):
        (tmp_path / f"from-{name}").mkdir()
        (tmp_path / name / "checkpoint-2").rename(tmp_path / f"from-{name}" / "checkpoint-2")
    assert [done.exit_code for done in members.both(*args, "from-whole")] == [0, 0]
    assert near(tmp_path / "whole", tmp_path / "from-whole")
    again = members.alone(*args, "from-two", "--allow-changed", "num_processes")
    (step,) = (row for row in again.rows if row["event"] == "step")
    for name in NUMBERS & step.keys():
        assert step[name] == pytest.approx(
            [row for row in two.rows if row["event"] == "step"][-1][name], rel=1e-5
        ), name


def test_a_step_without_pictures_leaves_the_vision_tower_as_it_is(members: Members, tmp_path: Path) -> None:
    """Pictures are in the first of two steps: then neither weight decay nor momentum moves the tower."""
    members.warm[0].write("pairs.jsonl", [*texts(6), *PICTURES[:2], *texts(10)[6:]])
    args = (*FULL, "--weight-decay", "0.5", "--epochs", "1", "--seed", "2", "--save-steps", "1")
    done = members.both(*args, "-o", "two")
    assert [one.exit_code for one in done] == [0, 0]
    first, last = weights(tmp_path / "two" / "checkpoint-1"), weights(tmp_path / "two")
    start = load_file(golden.MODEL / "model.safetensors")
    still = {name for name in last if torch.equal(first[name], last[name])}
    assert still == {name for name in last if "visual" in name}
    assert all(not torch.equal(first[name], start[name]) for name in still)


def test_an_error_of_an_evaluation_ends_all_and_loses_no_step(members: Members, tmp_path: Path) -> None:
    bad = items()
    bad[1]["image"] = "no.png"
    members.warm[0].write("eval.jsonl", bad)
    args = (*LORA, "--max-steps", "2", "--eval", "eval.jsonl", "-o", "run")
    done = members.both(*args)
    assert [one.exit_code for one in done] == [66, 66]
    assert b"vlm2vec: error: eval.jsonl line 2: image no.png: " in done[0].stderr
    assert done[1].stderr == b""
    assert (tmp_path / "run" / "checkpoint-2" / "training_state.pt").exists()


@pytest.mark.parametrize("kind", [("--full", "--gradient-checkpointing"), LORA[:2]])
def test_a_run_goes_on_to_the_bit(members: Members, tmp_path: Path, kind: tuple[str, ...]) -> None:
    """Also with dropout, which a pass of nothing draws, too, and in bfloat16."""
    args = (*kind, "--precision", "bf16", "--save-steps", "1", "-o")
    for out, steps in (("whole", "2"), ("cut", "1"), ("cut", "2")):
        for done in members.both(*args, out, "--max-steps", steps):
            assert (done.exit_code, done.stderr) == (0, b"")
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_accelerate_launches_it_for_an_adapter(members: Members, vlm2vec: Runner, tmp_path: Path) -> None:
    """The adapter, and the base with the adapter in it."""
    (tmp_path / "two.yaml").write_text(CONFIG)
    launch = ("-m", "accelerate.commands.launch", "--config_file", "two.yaml", "--main_process_port", "0")
    accelerate = Runner(tmp_path, (sys.executable, *launch, "-m", "vlm2vec_cli"))
    args = (*LORA, "--max-steps", "3", "-o")
    done = accelerate(*RUN, *args, "two", env={"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"})
    assert done.exit_code == 0, done.stderr
    assert (done.rows[0]["processes"], done.rows[-1]["event"]) == (2, "end")
    assert members.alone(*args, "one").exit_code == 0
    assert near(tmp_path / "one", tmp_path / "two")
    assert members.alone(*args, "one-merged", "--merge").exit_code == 0
    assert [done.exit_code for done in members.both(*args, "two-merged", "--merge")] == [0, 0]
    assert near(tmp_path / "one-merged", tmp_path / "two-merged")


def test_one_that_is_killed_in_a_pass_ends_the_other(members: Members, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(members.both, *FULL, "--max-steps", "100000", "--save-steps", "2", "-o", "run")
        while not (tmp_path / "run" / "checkpoint-2").exists():
            assert not found.done()
            time.sleep(0.05)
        os.kill(psutil.Process(members.servers[1].pid).children()[0].pid, signal.SIGKILL)
        first, second = found.result(60)
    assert (first.exit_code, second.exit_code) == (69, -signal.SIGKILL)
    assert first.stderr.startswith(b"vlm2vec: error: another process of the run has ended\n")


def test_rows_that_cannot_be_read_end_all(members: Members) -> None:
    members.warm[0].write("pairs.jsonl", [*rows(), {"query": {"image": "no.png"}, "positive": {"text": "x"}}])
    done = members.both(*LORA, "--max-steps", "9", "-o", "run")
    assert [one.exit_code for one in done] == [66, 66]
    assert done[0].stderr.startswith(b"vlm2vec: error: pairs.jsonl line 13: image no.png: ")
    assert done[1].stderr == b""


def test_what_a_config_cannot_ask_for(members: Members) -> None:
    for name, value, hint in (
        ("FSDP_VERSION", "1", b"fsdp_version: 2"),
        ("FSDP_OFFLOAD_PARAMS", "true", b"fsdp_offload_params: false"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", b"--gradient-checkpointing"),
    ):
        done = members.warm[0](*RUN, "-o", "run", env={**FSDP, name: value})
        assert done.exit_code == 2
        assert done.stderr.startswith(b"vlm2vec: error: the accelerate config sets " + name.lower().encode())
        assert hint in done.stderr
