"""The shipped examples run as they stand: the Makefile, stopped and resumed, and the regression check."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from runner import programs

EXAMPLES = Path(__file__).parents[2] / "examples"
CHECKPOINT = Path(str(files("vlm2vec_cli.quickstart"))) / "checkpoint"
MAKEFILE = str(EXAMPLES / "make" / "Makefile")
TASKS = ("Quickstart_kind", "Quickstart_grounding")
MAKE = ("make", "-j2", "-f", MAKEFILE, "SOURCE=quickstart", "MODEL=quickstart")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """`vlm2vec` is this Python's, whether it is on the path or not."""
    return {**os.environ, "PATH": f"{programs(tmp_path)}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}


def made(folder: Path) -> dict[str, bytes]:
    """Every file that a rule has made, by its path."""
    paths = (path for kind in ("rows", "vectors", "scores") for path in (folder / kind).rglob("*.*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_without_names_make_takes_every_task_that_is_there(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run([*MAKE, "-n"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    catalogue = json.loads((EXAMPLES / "quickstart" / "tasks.json").read_text(encoding="utf-8"))
    (report,) = re.findall("^vlm2vec report (.*) -o report.html$", done.stdout, re.MULTILINE)
    assert report.split() == [f"scores/{task['name']}.jsonl" for task in catalogue["tasks"]]


def test_a_root_without_tasks_ends_make_with_a_word(tmp_path: Path, environment: dict[str, str]) -> None:
    command = ["make", "-f", MAKEFILE, "ROOT=nowhere"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no task of mmeb-v2 is here: ROOT=DIR is the folder of its data" in done.stderr
    assert list(tmp_path.glob("*.html")) == []


@pytest.mark.slow
def test_a_stopped_make_goes_on_and_makes_nothing_twice(tmp_path: Path, environment: dict[str, str]) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    command = [*MAKE, f"TASKS={' '.join(TASKS)}"]
    subprocess.run(command, cwd=whole, env=environment, check=True)
    again = subprocess.run(command, cwd=whole, env=environment, check=True, capture_output=True, text=True)
    assert "Nothing to be done" in again.stdout

    run = subprocess.Popen(command, cwd=stopped, env=environment, start_new_session=True)
    while not list((stopped / "rows").glob("*.jsonl")):
        assert run.poll() is None
        time.sleep(0.05)
    time.sleep(1)  # embed is under way
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait() != 0
    left = made(stopped)
    assert not (stopped / "report.html").exists()
    for path in (stopped / "vectors").glob("*.parquet"):
        pq.read_metadata(path)
    subprocess.run(command, cwd=stopped, env=environment, check=True)
    assert made(stopped) == made(whole)
    assert {name: data for name, data in made(stopped).items() if name in left} == left


def test_the_workflow_runs_what_is_there() -> None:
    (job,) = yaml.safe_load((EXAMPLES / "ci" / "workflow.yml").read_text(encoding="utf-8"))["jobs"].values()
    said = [step["run"] for step in job["steps"] if "run" in step]
    assert said[:2] == ["pip install .", "bash examples/ci/regression.sh"]
    assert "summary.md" in said[2]


@pytest.mark.slow
def test_the_regression_check_passes_and_fails(tmp_path: Path, environment: dict[str, str]) -> None:
    own = tmp_path / "ci"
    shutil.copytree(EXAMPLES / "ci", own)
    committed = (own / "baseline.jsonl").read_bytes()
    check = ["bash", str(own / "regression.sh")]
    update = subprocess.run(check, cwd=tmp_path, env={**environment, "UPDATE": "1"}, capture_output=True)
    assert (update.returncode, update.stderr) == (0, b"")
    before, after = (
        {row["dataset"]: row["main_score"] for row in map(json.loads, lines.splitlines())}
        for lines in (committed, (own / "baseline.jsonl").read_bytes())
    )
    assert after == pytest.approx(before, abs=0.05)
    (own / "baseline.jsonl").write_bytes(committed)

    good = subprocess.run(check, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    assert "Quickstart_kind" in (tmp_path / "summary.md").read_text(encoding="utf-8")

    shutil.copytree(CHECKPOINT, tmp_path / "damaged")
    weights = tmp_path / "damaged" / "model.safetensors"
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator).to(value.dtype)
        for name, value in load_file(weights).items()
    }
    save_file(tensors, weights, metadata={"format": "pt"})
    bad = subprocess.run(
        [*check, str(tmp_path / "damaged")], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert bad.returncode == 1
    assert bad.stderr.startswith("vlm2vec: error: ")
    assert "<failure" in (tmp_path / "junit.xml").read_text(encoding="utf-8")
