"""A checkpoint with its adapter merged: full weights that plain transformers and vLLM load."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from vlm2vec_cli import __version__, adapters, checkpoints
from vlm2vec_cli.encoder import pick_dtype
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.weights import read


def merge(
    model: str,
    folder: Path,
    *,
    adapter: str | None = None,
    revision: str | None = None,
    dtype: str = "auto",
    config: str | None = None,
) -> None:
    """Writes the model into `folder`, in the layout of its base's own repository, and vlm2vec.json.

    Merged in float32 on the CPU; `dtype` auto stores what the base's files store. Raises UsageError when the
    folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--merge-to {folder}: not an empty folder")
    found = checkpoints.find(model, adapter=adapter, revision=revision, config=config)
    limits = found.limits()
    backbone = checkpoints.load(found, limits, dtype=torch.float32, device="cpu")
    stored = next(tensor.dtype for _, tensor in read(found.weights) if tensor.is_floating_point())
    folder.mkdir(parents=True, exist_ok=True)
    backbone.save(folder, dtype=stored if dtype == "auto" else pick_dtype(dtype, torch.device("cpu")))
    meta = {
        "base_model": found.meta.get("base_model", found.base),
        "revision": found.revision,
        "prompt_family": found.meta["prompt_family"],
        "limits": asdict(limits),
        "dimension": backbone.dim,
        "pooling": "last",
        "normalize": True,
        "tool_version": __version__,
        **({checkpoints.MERGED: adapters.digest(found.adapter)} if found.adapter else {}),
    }
    (folder / checkpoints.META).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n")
