"""Help is quick: it loads none of the heavy libraries. Commands end quickly, too."""

import os
import resource
import subprocess
import sys

import pytest

from runner import Runner
from vlm2vec_cli.app import COMMANDS

HEAVY = (
    "accelerate", "av", "decord", "duckdb", "fitz", "numpy", "pandas", "peft", "PIL", "polars", "pyarrow",
    "pydantic", "pymupdf", "rich", "safetensors", "tokenizers", "torch", "tqdm", "transformers", "zstandard",
)  # fmt: skip
LOADED = f"""
import sys
from vlm2vec_cli.app import app
app(sys.argv[1:], standalone_mode=False)
print("loaded:", *sorted(set({HEAVY!r}) & set(sys.modules)))
"""
ENDED = """
import atexit, gc, sys
from vlm2vec_cli import app
atexit.register(lambda: print("left out:", gc.get_freeze_count() >= len(gc.get_objects())))
app.run()
"""
LIMIT_SECONDS = 0.150
TYPER_SECONDS = 0.077  # what `import typer` takes on the machine that the limit is for
RUNS = 5


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_loads_no_heavy_module(command: str | None) -> None:
    args = [command, "--help"] if command else ["--help"]
    done = subprocess.run([sys.executable, "-c", LOADED, *args], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]


def test_help_takes_less_than_150_ms_of_cpu(vlm2vec: Runner) -> None:
    vlm2vec("--help")  # compiled once
    typer = min(cpu([sys.executable, "-c", "import typer"]) for _ in range(RUNS))
    slowness = max(1.0, typer / TYPER_SECONDS)
    slowest = max(
        min(cpu([*vlm2vec.program, *args]) for _ in range(RUNS)) for args in (["--help"], ["train", "--help"])
    )
    print(f"import typer {typer * 1000:.0f} ms, help {slowest * 1000:.0f} ms")
    assert slowest < LIMIT_SECONDS * slowness


@pytest.mark.parametrize(("args", "code"), [(["--version"], 0), (["score", "no-such-file"], 66)])
def test_what_was_made_is_not_looked_through_at_the_end(args: list[str], code: int) -> None:
    done = subprocess.run([sys.executable, "-c", ENDED, *args], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "left out: True"
    assert done.returncode == code, done.stderr


def cpu(command: list[str]) -> float:
    """Seconds of processor time that a run takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
