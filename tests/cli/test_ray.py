"""The example for Ray Data: the engine of `embed` mapped over a dataset, on a Ray of this machine."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import golden
from warm import Warm

EXAMPLE = Path(__file__).parents[2] / "examples" / "ray" / "embed_dataset.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='no ray: pip install "ray[data]"'),
]


def test_a_dataset_on_ray_gets_the_vectors_of_embed(warm: Warm, tmp_path: Path) -> None:
    asked = ("quickstart", "--task", "Quickstart_kind", "--limit", "12", "-o", "rows.jsonl")
    assert warm("prepare", *asked).exit_code == 0
    options = ("--model", str(golden.MODEL), "--max-pixels", "7056")
    subprocess.run(
        [sys.executable, EXAMPLE, "rows.jsonl", "vectors", *options, "--block-rows", "7"],
        cwd=tmp_path, check=True, timeout=580, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert warm("embed", "rows.jsonl", *options, "-o", "whole.parquet").exit_code == 0
    scores = [warm("score", name).rows[0] for name in ("vectors", "whole.parquet")]
    assert scores[0]["fingerprint"] == scores[1]["fingerprint"]
    assert scores[0]["metrics"] == scores[1]["metrics"]
    assert scores[0]["data_digest"] == scores[1]["data_digest"]
    ray, whole = pl.read_parquet(tmp_path / "vectors"), pl.read_parquet(tmp_path / "whole.parquet")
    both = whole.join(ray, on=["id", "role"], suffix="_ray", validate="1:1")
    assert len(both) == len(ray) == len(whole)
    assert np.abs(both["embedding"].to_numpy() - both["embedding_ray"].to_numpy()).max() < 1e-6
