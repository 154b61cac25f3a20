"""Checkpoint folders of a run: written whole or not at all, resumed exactly."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli import __version__, checkpoints
from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.errors import DataError, UnavailableError, UsageError

STATE = "training_state.pt"
_PREFIX = "checkpoint-"
# A run may go on with other values of these.
_FREE = {"max_steps", "epochs", "save_steps", "save_total_limit", "chunk_tokens", "grad_cache"}


def save_model(
    folder: Path, backbone: Backbone, adapter: Any | None, base: str, facts: Mapping[str, Any]
) -> None:
    """Adapter or full weights in the standard file names, tokenizer, processor files, vlm2vec.json last."""
    folder.mkdir(parents=True, exist_ok=True)
    if adapter is None:
        backbone.save(folder)
    else:
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        config = adapter.peft_config["default"]
        config.base_model_name_or_path = base
        config.save_pretrained(str(folder))
        state = get_peft_model_state_dict(adapter)
        save_file(
            {
                checkpoints.outer_key(name): tensor.detach().cpu().contiguous()
                for name, tensor in state.items()
            },
            folder / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )
        backbone.save_processor(folder)
    meta = {
        **facts,
        "limits": asdict(backbone.limits),
        "dimension": backbone.dim,
        "pooling": "last",
        "normalize": True,
        "positions": "1d",
        "tool_version": __version__,
    }
    (folder / checkpoints.META).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n")


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes its name only when the block ends well."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UnavailableError(
            f"cannot be written: {error.strerror or error}",
            place=str(folder),
            hint="earlier checkpoints are intact",
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def publish(source: Path, folder: Path) -> None:
    """Moves the files of `source` into `folder`, vlm2vec.json last, so that a half-moved model has none.

    Weights of an earlier run that are not overwritten are removed: a folder holds one model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / checkpoints.META).unlink(missing_ok=True)
    for pattern in checkpoints.MODEL_FILES:
        for path in folder.glob(pattern):
            path.unlink()
    for path in sorted(source.iterdir(), key=lambda path: path.name == checkpoints.META):
        os.replace(path, folder / path.name)
    source.rmdir()


def path_of(out: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` steps."""
    return out / f"{_PREFIX}{step}"


def prune(out: Path, limit: int | None) -> None:
    """Removes all but the newest `limit` checkpoints."""
    if limit is not None:
        for folder in _all(out)[:-limit] if limit else _all(out):
            shutil.rmtree(folder)


def find(out: Path, resume: str) -> Path | None:
    """The checkpoint to go on from: `auto` the newest in `out`, `none` none, else the folder named."""
    if resume == "none":
        return None
    if resume == "auto":
        return _all(out)[-1] if _all(out) else None
    if not (Path(resume) / STATE).is_file():
        raise UsageError(f"--resume {resume}: no {STATE} there", hint="auto, none, or a checkpoint-N folder")
    return Path(resume)


def save_state(
    folder: Path, step: int, digest: str, options: Mapping[str, Any], parts: Mapping[str, Any]
) -> None:
    """What a run needs beside the weights: optimizer, random generators, step, data digest, options."""
    state = {
        "step": step,
        "digest": digest,
        "options": dict(options),
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    torch.save(state, folder / STATE)


def load_state(folder: Path, digest: str, options: Mapping[str, Any], parts: Mapping[str, Any]) -> int:
    """Puts everything back and returns the step. Raises DataError when data or options are not the run's
    own."""
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    if state["digest"] != digest:
        raise DataError(
            "the training data is not what this run began with",
            place=str(folder),
            hint="--resume none starts anew",
        )
    changed = sorted(
        name
        for name, value in options.items()
        if name not in _FREE and _plain(state["options"].get(name)) != _plain(value)
    )
    if changed:
        raise UsageError(
            f"options differ from the run in {folder}: {', '.join(changed)}", hint="--resume none starts anew"
        )
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    torch.set_rng_state(state["rng"])
    if state["cuda_rng"]:
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return int(state["step"])


def set_seed(seed: int) -> None:
    """Seeds everything that draws."""
    random.seed(seed)
    torch.manual_seed(seed)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _all(out: Path) -> list[Path]:
    found = [
        path
        for path in out.glob(f"{_PREFIX}*")
        if path.name[len(_PREFIX) :].isdigit() and (path / STATE).is_file()
    ]
    return sorted(found, key=lambda path: int(path.name[len(_PREFIX) :]))
