"""`vlm2vec embed` over the golden inputs and small texts, and what its runs leave."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import golden
from runner import Done
from warm import Warm

IDS = golden.facts()["ids"]
EXPECTED = dict(zip(IDS, golden.arrays()["emb_single"], strict=True))
ADAPTED = dict(zip(IDS, golden.arrays()["emb_single_adapter_merged"], strict=True))
SHORT = [name for name in IDS if name not in ("i02_cls_448",)]  # the largest picture costs most of the time
TOLERANCE = 2e-5
TEXTS = ["a red apple", "a green tree", "two dogs and a cat", "the harbour at night"]


def rows(names: list[str]) -> list[dict[str, Any]]:
    return [{"id": name, **golden.content(name)} for name in names]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def vectors(done: Done) -> dict[str, np.ndarray]:
    assert done.exit_code == 0
    return {row["id"]: np.array(row["embedding"], dtype=np.float32) for row in done.rows}


def embed(warm: Warm, names: list[str], *args: str | Path) -> dict[str, np.ndarray]:
    """Vectors by id, in the order of the output."""
    options = ("--media-root", golden.ROOT, "--format", "jsonl", "--dtype", "float32", "--device", "cpu")
    return vectors(warm("embed", *options, *args, stdin=jsonl(rows(names))))


def texts(*more: dict[str, Any]) -> bytes:
    return jsonl([*({"text": text} for text in TEXTS), *more])


def tiny(warm: Warm, stdin: bytes, *args: str | Path) -> Done:
    return warm("embed", "-m", golden.MODEL, "--dtype", "float32", "--format", "jsonl", *args, stdin=stdin)


def close(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return all(np.abs(vector - expected[name]).max() <= TOLERANCE for name, vector in got.items())


def refusal(done: Done, code: int) -> list[str]:
    """The lines on stderr of a run that wrote nothing."""
    assert (done.exit_code, done.stdout) == (code, b"")
    return done.stderr.decode().splitlines()


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
