"""`embed` in this process over rows of the golden inputs, and how far its vectors are from the references."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from backbones import ROOT, Family
from runner import Done
from warm import Warm

TOLERANCE = 2e-5
TEXTS = ["t1_query", "t3_non_ascii"]


def embed(warm: Warm, rows: list[dict[str, Any]], *args: str | Path, root: Path = ROOT) -> Done:
    stdin = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    fixed = ("--dtype", "float32", "--device", "cpu", "--format", "jsonl", "--media-root", root)
    return warm("embed", *fixed, *args, stdin=stdin)


def tensors(model: Path) -> dict[str, torch.Tensor]:
    """All weights of a folder, which has none afterwards."""
    state: dict[str, torch.Tensor] = {}
    for path in sorted(model.glob("model*")):
        if path.suffix == ".safetensors":
            state.update(load_file(path))
        path.unlink()
    return state


def rows(family: Family, names: list[str]) -> list[dict[str, Any]]:
    return [{"id": name, **family.content(name)} for name in names]


def distance(done: Done, family: Family, kind: str = "emb") -> float:
    assert done.exit_code == 0
    return max(
        float(np.abs(np.array(row["embedding"]) - family.arrays[f"{kind}/{row['id']}"]).max())
        for row in done.rows
    )


def config(warm: Warm, family: Family, name: str) -> tuple[str | Path, ...]:
    """--model-config for an input, where it needs one."""
    facts = family.config(name)
    return ("--model-config", warm.write("config.json", json.dumps(facts))) if facts else ()


def refused(done: Done, code: int = 69) -> list[str]:
    assert (done.exit_code, done.stdout) == (code, b"")
    return done.stderr.decode().splitlines()
