"""`vlm2vec train` on a few pairs, and vectors of what it leaves."""

from pathlib import Path
from typing import Any

import numpy as np

import golden
from embed_items import jsonl
from pairs import texts
from runner import Done
from warm import Warm

LORA = ("-m", golden.MODEL, "--media-root", golden.ROOT, "--lora-r", "2")
FEW = ("--batch-size", "4", "--warmup-steps", "1", "--precision", "fp32", "--device", "cpu")


def train(warm: Warm, *args: str | Path, rows: list[dict[str, Any]] | None = None) -> Done:
    return warm("train", *FEW, *args, stdin=jsonl(texts(6) if rows is None else rows))


def embed(warm: Warm, *args: str | Path, rows: list[dict[str, Any]]) -> np.ndarray:
    done = warm("embed", "--dtype", "float32", "--format", "jsonl", *args, stdin=jsonl(rows))
    assert (done.exit_code, done.stderr) == (0, b"")
    return np.array([row["embedding"] for row in done.rows])
