"""The scripts for Slurm run as they stand on a real one, are stopped and queued again: the same result."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

import golden
import slurm
from runner import programs
from slurm import Slurm
from warm import Warm

SCRIPTS = Path(__file__).parents[2] / "examples" / "slurm"
SETTINGS = ("SBATCH_", "SLURM_", "SRUN_", "VLM2VEC_", "HF_")
TRAIN = ("--max-steps", "2", "--batch-size", "6", "--warmup-steps", "0", "--max-pixels", "7056",
         "--device", "cpu", "--lora-r", "2", "--lora-dropout", "0", "--precision", "fp32")  # fmt: skip
EMBED = ("--part-rows", "4", "--batch-tokens", "512", "--min-pixels", "60000", "--max-pixels", "60000",
         "--dtype", "float32")  # fmt: skip
SHARDS = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(slurm.missing() is not None, reason=f"no Slurm: {slurm.missing()}"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    folder = tmp_path_factory.mktemp("slurm")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    # nodes that are not there have no address: the processes of the training meet here
    here = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    path = f"{programs(folder)}{os.pathsep}{kept['PATH']}"
    with slurm.cluster(folder, {**kept, **here, "PATH": path}) as running:
        yield running


def parts(folder: Path, of: int) -> list[Path]:
    """The part files that one job of the array has made."""
    return [path for path in folder.glob("part-*.parquet") if int(path.stem[5:]) % SHARDS == of]


def test_the_chain_of_jobs_survives_stops_and_equals_one_process(
    cluster: Slurm, warm: Warm, tmp_path: Path
) -> None:
    work = tmp_path / "run"
    asked = {
        "DATA": str(tmp_path), "MODEL": str(golden.MODEL), "EMBED": " ".join(EMBED),
        "TRAIN": "quickstart --split train --task Quickstart_kind --limit 12",
        "TEST": "quickstart --task Quickstart_grounding",
        "NODES": "2", "GPUS": "1", "SHARDS": str(SHARDS),
    }  # fmt: skip
    said = Slurm({**cluster.env, **asked})("bash", SCRIPTS / "pipeline.sh", work, *TRAIN)
    jobs = dict(line.split() for line in said.splitlines())
    assert list(jobs) == ["test", "pairs", "mine", "train", "embed", "score"]

    # One job gets the signal that comes before a time limit, another is stopped by Slurm, both half done.
    cluster.wait(jobs["train"])
    vectors = work / "vectors"
    stops = {1: ("scontrol", "requeue"), 2: ("scancel", "--signal=TERM")}
    found: dict[int, set[Path]] = {}
    deadline = time.monotonic() + 300
    while len(found) < len(stops):
        assert time.monotonic() < deadline, cluster.state(jobs["embed"])
        for number in stops.keys() - found.keys():
            if made := set(parts(vectors, number)):
                cluster(*stops[number], f"{jobs['embed']}_{number}")
                found[number] = made
        time.sleep(0.02)
    before = {path: path.stat().st_mtime_ns for paths in found.values() for path in paths}
    cluster.wait(jobs["score"])
    for number in stops:
        log = (work / f"embed-{jobs['embed']}_{number}.log").read_text()
        assert "finished parts of shard" in log
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is made twice"

    model = ("-m", golden.MODEL, "--media-root", tmp_path)
    assert warm("train", work / "mined.jsonl", *model, *TRAIN, "-o", "alone").exit_code == 0
    weights, alone = (
        load_file(folder / "adapter_model.safetensors") for folder in (work / "model", tmp_path / "alone")
    )
    assert max(float(np.abs(weights[name] - alone[name]).max()) for name in alone) < 1e-6
    model = ("-m", work / "model", "--media-root", tmp_path)
    assert warm("embed", work / "test.jsonl", *model, *EMBED[2:], "-o", "whole.parquet").exit_code == 0
    one, several = pl.read_parquet(tmp_path / "whole.parquet"), pl.read_parquet(vectors)
    assert several.drop("embedding").equals(one.drop("embedding"))
    assert np.abs(several["embedding"].to_numpy() - one["embedding"].to_numpy()).max() < 1e-5
    (expected,) = warm("score", "whole.parquet").rows
    (score,) = (json.loads(line) for line in (work / "scores.jsonl").read_text().splitlines())
    assert score["metrics"] == expected["metrics"]
    assert "Quickstart_grounding" in (work / "scores.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sbatch")), ids=lambda path: path.name)
def test_a_cluster_of_eight_gpus_a_machine_takes_the_script(cluster: Slurm, script: Path) -> None:
    cluster("sbatch", "--test-only", script, "in.jsonl", "out")
