"""A checkpoint with its adapter merged: full weights that plain transformers and vLLM load."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
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

    Merged in float32 on the CPU; `dtype` auto stores what the base's files store. The folder has its name
    once it is complete. Raises UsageError when it holds something already or cannot be made, before the model
    is loaded.
    """
    _check(folder)
    found = checkpoints.find(model, adapter=adapter, revision=revision, config=config)
    limits = found.limits()
    backbone = checkpoints.load(found, limits, dtype=torch.float32, device="cpu")
    stored = next(tensor.dtype for _, tensor in read(found.weights) if tensor.is_floating_point())
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
    with _unfinished(folder) as made:
        backbone.save(made, dtype=stored if dtype == "auto" else pick_dtype(dtype, torch.device("cpu")))
        (made / checkpoints.META).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n")


def _check(folder: Path) -> None:
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"--merge-to {folder}: not an empty folder")
    except OSError as error:
        raise UsageError(f"--merge-to {folder}: {error.strerror}") from None
    above = next(one for one in folder.absolute().parents if one.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"--merge-to {folder}: no folder can be made in {above}")


@contextlib.contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its name after the block, and is removed when the block raises."""
    folder = folder.absolute()
    made = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        made.mkdir(parents=True)
        yield made
        made.replace(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
