"""What a checkpoint holds, and how a run takes it over: exactly, and only its own."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli import __version__, adapters, checkpoints, generators
from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.errors import DataError, UsageError, nearest
from vlm2vec_cli.training.folders import STATE
from vlm2vec_cli.training.options import TrainOptions

_WEIGHTS = "trainable.pt"
# A run may go on with other values of these.
_FREE = {
    *("max_steps", "epochs", "save_steps", "save_total_limit", "chunk_tokens", "grad_cache"),
    *("eval_steps", "early_stopping", "merge"),
}
# Of these the shape of what is trained depends: no run can go on with others.
_FIXED = {"full", "lora_r", "lora_targets", "dora", "vision", "optimizer", "learn_temperature"}


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
    # An option that the checkpoint does not know yet had its default.
    saved = {**TrainOptions().recorded(), **state["options"]}
    changed = {
        name
        for name, value in options.items()
        if name in saved and name not in _FREE and _plain(saved[name]) != _plain(value)
    }
    if changed - allowed:
        raise UsageError(
            f"options differ from the run in {folder}: {', '.join(sorted(changed - allowed))}",
            hint="--resume none starts anew, --allow-changed NAME goes on",
        )
    if fixed := sorted(changed & _FIXED):
        raise UsageError(
            f"the run in {folder} cannot go on with other values of: {', '.join(fixed)}",
            hint="--resume none starts anew",
        )
    for name, part in parts.items():
        try:
            part.load_state_dict(state["parts"][name])
        except (KeyError, ValueError, RuntimeError) as error:
            raise _unfit(folder / STATE, f"its state of the {name}") from error
    if rank < len(state["random"]):
        generators.set_random_state(state["random"][rank])
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
                if name not in state or state[name].shape != parameter.shape:
                    raise _unfit(folder / _WEIGHTS, f"its {name}")
                parameter.copy_(part(state[name], parameter))


def _unfit(path: Path, what: str) -> DataError:
    return DataError(
        f"the checkpoint does not fit this run: {what} is missing or of another shape",
        place=str(path),
        hint="--resume with another one, or none",
    )


def _loaded(path: Path) -> Any:
    """What `torch.save` wrote, tensors and plain values alone; DataError for anything else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise DataError(
            "the checkpoint is damaged", place=str(path), hint="--resume with an earlier one, or none"
        ) from error


def set_seed(seed: int, rank: int = 0) -> None:
    """Seeds everything that draws, on each process differently."""
    random.seed(seed)
    torch.manual_seed(seed + rank)


def _plain(value: Any) -> Any:
    """Tuples are as good as lists, also inside."""
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value
