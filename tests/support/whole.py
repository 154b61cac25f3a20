"""Runs of embed and train that nothing happens to, for those that something happens to."""

import time
from pathlib import Path

import golden
from faults import contents
from pairs import PICTURES, texts
from warm import Warm

MODEL = ("-m", golden.MODEL, "--media-root", golden.ROOT)
EMBED = ("rows.jsonl", *MODEL, "--dtype", "float32", "--part-rows", "5")
TRAIN = (
    "train", "pairs.jsonl", *MODEL, "--lora-r", "2", "--batch-size", "4", "--warmup-steps", "1",
    "--precision", "fp32", "--device", "cpu", "--save-total-limit", "2", "-q",
)  # fmt: skip
WEIGHTS = "adapter_model.safetensors"


def embed(*args: str) -> tuple[str | Path, ...]:
    """Into the folder `parts`, or the rest of it."""
    return ("embed", *EMBED, "-o", "parts/", "--resume", *args)


def train(steps: int, out: str = "run") -> tuple[str | Path, ...]:
    """Into the folder `out`, or the rest of it."""
    saves = ("--save-steps", "1", "--eval", "items.jsonl", "--eval-steps", "2")
    return (*TRAIN, "-o", out, "--max-steps", str(steps), *saves)


def started(warm: Warm) -> None:
    """Waits for the server, whose start is no part of the time that a run takes."""
    assert warm("--version").exit_code == 0


def write(warm: Warm, number: int = 30) -> None:
    """The inputs: `number` texts and four pictures, ten pairs, an evaluation."""
    started(warm)
    words = [{"text": f"row {at} " * (1 + at % 7)} for at in range(number)]
    seen = [{"text": "what is this", "image": row["query"]["image"]} for row in PICTURES]
    warm.write("rows.jsonl", [*words, *seen])
    warm.write("pairs.jsonl", [*texts(6), *PICTURES])
    item = {"id": "q", "text": "what is apple", "relevant": {"c": 1}}
    warm.write("items.jsonl", [item, *({"id": one, "role": "candidate", "text": one} for one in "cd")])


def parts(warm: Warm) -> tuple[dict[str, bytes], float]:
    """The parts of a run that nothing happened to, and how long it took."""
    start = time.monotonic()
    assert warm("embed", *EMBED, "-o", "whole/").exit_code == 0
    return contents(warm.work / "whole", "*"), time.monotonic() - start


def weights(warm: Warm, steps: int) -> tuple[bytes, float]:
    """The weights after a run that nothing happened to, and how long it took."""
    start = time.monotonic()
    assert warm(*train(steps, "whole")).exit_code == 0
    return (warm.work / "whole" / WEIGHTS).read_bytes(), time.monotonic() - start
