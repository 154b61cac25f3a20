"""`-m quickstart`: the shipped checkpoint embeds offline, is small, and answers above chance."""

import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from safetensors import safe_open

from runner import Runner
from vlm2vec_cli import checkpoints

ROWS = b'{"text":"a red apple"}\n{"image":"x.png"}\n'
LEAST = 0.08  # of hit@1 above chance; the README has what was measured


@pytest.fixture
def work(vlm2vec: Runner) -> Runner:
    Image.new("RGB", (60, 40), "red").save(vlm2vec.work / "x.png")
    return vlm2vec


def test_text_and_picture_to_parquet_on_stdout(work: Runner) -> None:
    done = work("embed", "-m", "quickstart", stdin=ROWS)
    assert done.exit_code == 0
    frame = pl.read_parquet(io.BytesIO(done.stdout))
    assert frame["id"].to_list() == ["1", "2"]
    assert frame["embedding"].dtype.shape == (192,)
    assert done.stderr == b""


def test_a_closed_pipe_ends_quietly(work: Runner) -> None:
    (work.work / "rows.jsonl").write_bytes(ROWS * 50)
    embed = f"{sys.executable} -m vlm2vec_cli embed -m quickstart"
    command = f"set -o pipefail; {embed} < rows.jsonl | head -c 1 | wc -c"
    done = subprocess.run(["bash", "-c", command], cwd=work.work, capture_output=True, env=work.env(None))
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"1", b"")


def test_it_is_small_and_says_what_it_is() -> None:
    found = checkpoints.find("quickstart")
    assert sum(path.stat().st_size for path in found.folder.iterdir()) <= 5_000_000
    with safe_open(found.folder / "model.safetensors", "pt") as weights:
        # a safetensors file has keys() but is no mapping to iterate over
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118
    assert found.meta["base_model"] == "tiny"
    assert "/" not in json.dumps({key: value for key, value in found.meta.items() if key != "options"})


@pytest.mark.slow
def test_it_answers_above_chance(vlm2vec: Runner) -> None:
    for command in (
        ("prepare", "quickstart", "-o", "test.jsonl"),
        ("embed", "test.jsonl", "-m", "quickstart", "-o", "vectors.parquet"),
        ("score", "vectors.parquet", "-o", "scores.jsonl", "--bootstrap", "0"),
    ):
        assert vlm2vec(*command).exit_code == 0
    script = Path(__file__).parents[2] / "examples/quickstart/above_chance.py"
    check = [sys.executable, str(script), "scores.jsonl", "--min", f"quickstart={LEAST}"]
    assert subprocess.run(check, cwd=vlm2vec.work).returncode == 0
    guessing = [*check, "--guessing", "quickstart=0.05"]
    done = subprocess.run(guessing, cwd=vlm2vec.work, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "not guessing: quickstart\n")
