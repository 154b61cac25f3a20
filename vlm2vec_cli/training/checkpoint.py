"""Checkpoint folders of a run: written whole or not at all, resumed exactly."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from vlm2vec_cli import __version__, adapters, checkpoints
from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.errors import DataError, UnavailableError, UsageError, nearest

STATE = "training_state.pt"
_WEIGHTS = "trainable.pt"
_PREFIX = "checkpoint-"
# A run may go on with other values of these.
_FREE = {
    *("max_steps", "epochs", "save_steps", "save_total_limit", "chunk_tokens", "grad_cache"),
    *("eval_steps", "early_stopping", "merge"),
}


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
            {adapters.outer_key(name): tensor.detach().cpu().contiguous() for name, tensor in state.items()},
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
        "positions": backbone.POSITIONS,
        "tool_version": __version__,
    }
    (folder / checkpoints.META).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n")


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes its name only when the block ends well."""
    partial, old = (folder.with_name(f".{folder.name}.{word}") for word in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        # torch, safetensors and tokenizers have types of their own for a full disk, the last one none
        if not isinstance(error, (OSError, RuntimeError, SafetensorError)) and "os error" not in str(error):
            raise
        raise UnavailableError(
            f"cannot be written: {getattr(error, 'strerror', None) or adapters.first_line(error)}",
            place=str(folder),
            hint="earlier checkpoints are intact",
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def tidy(out: Path) -> None:
    """Puts back, or removes, what a run that was killed left between two names."""
    for name in ("best", "final", f"{_PREFIX}*"):
        for old in out.glob(f".{name}.old"):
            folder = out / old.name[1 : -len(".old")]
            if name == "best" and not folder.exists():
                old.rename(folder)
            else:
                shutil.rmtree(old)
        for partial in out.glob(f".{name}.partial"):
            shutil.rmtree(partial)


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
            gone = folder.rename(folder.with_name(f".{folder.name}.old"))  # half of it is no checkpoint
            shutil.rmtree(gone)


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
    folder: Path,
    step: int,
    digest: str,
    options: Mapping[str, Any],
    states: Mapping[str, Any],
    random: Sequence[Any],
) -> None:
    """What a run needs beside the weights: step, data digest, options, the `states` of its parts,
    and each process's random generators."""
    state = {
        "step": step,
        "digest": digest,
        "options": dict(options),
        "parts": dict(states),
        "random": list(random),
    }
    torch.save(state, folder / STATE)


def load_state(
    folder: Path,
    digest: str,
    options: Mapping[str, Any],
    parts: Mapping[str, Any],
    rank: int = 0,
    allow_changed: Collection[str] = (),
) -> int:
    """Puts everything back and returns the step. Raises DataError or UsageError when data or options are not
    the run's own, but for those named in `allow_changed`."""
    allowed = {name.replace("-", "_") for name in allow_changed}
    if unknown := allowed - {"data", *options}:
        name = sorted(unknown)[0]
        raise UsageError(
            f"--allow-changed: no option {name!r}", hint=nearest(name, ["data", *options]) or None
        )
    state = _loaded(folder / STATE)
    if state["digest"] != digest and "data" not in allowed:
        raise DataError(
            "the training data is not what this run began with",
            place=str(folder),
            hint="--resume none starts anew, --allow-changed data goes on",
        )
    changed = sorted(
        name
        for name, value in options.items()
        if name not in _FREE | allowed and _plain(state["options"].get(name)) != _plain(value)
    )
    if changed:
        raise UsageError(
            f"options differ from the run in {folder}: {', '.join(changed)}",
            hint="--resume none starts anew, --allow-changed NAME goes on",
        )
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    if rank < len(state["random"]):
        set_random_state(state["random"][rank])
    return int(state["step"])


def save_weights(model: torch.nn.Module, folder: Path) -> None:
    """Everything that is trained, in the numbers it is trained in."""
    trained = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    torch.save(trained, folder / _WEIGHTS)


def load_weights(
    model: torch.nn.Module, folder: Path, part: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    """The inverse of `save_weights`; `part` gives what a parameter takes of a whole tensor."""
    state = _loaded(folder / _WEIGHTS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(part(state[name], parameter))


def _loaded(path: Path) -> Any:
    """What `torch.save` wrote, tensors and plain values alone; DataError for anything else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise DataError(
            "the checkpoint is damaged", place=str(path), hint="--resume with an earlier one, or none"
        ) from error


def random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The generators of the CPU and of all devices."""
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def set_random_state(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    """The inverse of `random_state`."""
    torch.set_rng_state(state[0])
    if state[1] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state[1])


def set_seed(seed: int, rank: int = 0) -> None:
    """Seeds everything that draws, on each process differently."""
    random.seed(seed)
    torch.manual_seed(seed + rank)


def _plain(value: Any) -> Any:
    """Tuples are as good as lists, also inside."""
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value


def _all(out: Path) -> list[Path]:
    found = [
        path
        for path in out.glob(f"{_PREFIX}*")
        if path.name[len(_PREFIX) :].isdigit() and (path / STATE).is_file()
    ]
    return sorted(found, key=lambda path: int(path.name[len(_PREFIX) :]))
