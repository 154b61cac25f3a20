"""LoRA adapters: fresh ones, and those of a folder, put on a model strictly: every key used, none missing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli.errors import UnavailableError, UsageError
from vlm2vec_cli.weights import read_file

log = logging.getLogger(__name__)

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# The published runs' target modules, without those that no Qwen2-VL has; none is in the vision tower.
TARGETS = {
    "vlm2vec-v2": ("q_proj", "k_proj", "v_proj", "o_proj", "down_proj"),
    "vlm2vec-v2.1": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
# Module names of adapters as older libraries and other code wrote them, and ours; what is left is the same.
_NAMES = (
    (r"(layers|embed_tokens|norm)\b", r"language_model.\1"),  # Qwen2-VL before transformers 4.52, Phi-3.5-V
    (r"language_model\.model\.", "language_model."),  # LLaVA-NeXT before 4.52
    (r"vision_tower\.vision_model\.", "vision_tower."),
    (r"vision_embed_tokens\.img_processor\.vision_model\.", "vision_tower."),  # Phi-3.5-V
    (r"vision_embed_tokens\.", ""),
)


def digest(folder: Path) -> str | None:
    """A name for the adapter in a folder, the same for every file format and key layout; None without one."""
    path = _weights(folder)
    if path is None:
        return None
    tensors = {inner_key(name): tensor for name, tensor in read_file(path).items()}
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def base(folder: Path) -> str:
    """What the adapter in a folder calls the model below it; empty where it does not say."""
    name = read_json(folder / CONFIG).get("base_model_name_or_path")
    return name if isinstance(name, str) else ""


def attach(model: torch.nn.Module, folder: Path, *, trainable: bool = False) -> Any:
    """`model` wrapped by peft with the folder's adapter, every key of it used and none missing.

    Reads the old key layout (`...model.layers.N`) and the new one (`...language_model.layers.N`).
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    path = _weights(folder)
    if path is None:
        raise UnavailableError("no adapter weights", place=str(folder), hint=f"expected {WEIGHTS[0]}")
    kind = read_json(folder / CONFIG).get("peft_type")
    if kind != "LORA":
        raise UnavailableError(
            f"peft_type {kind!r} is not supported", place=str(folder / CONFIG), hint="LORA is"
        )
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    with _quiet_peft():
        try:
            wrapped = get_peft_model(model, config)
        except ValueError as error:
            raise UnavailableError(
                f"the adapter does not fit the model: {first_line(error)}",
                place=str(folder),
                hint="the adapter belongs to another base model",
            ) from error
    given = {inner_key(name): tensor for name, tensor in read_file(path).items()}
    wanted = {_bare(name): tuple(tensor.shape) for name, tensor in get_peft_model_state_dict(wrapped).items()}
    for what, names in (
        ("missing", wanted.keys() - given.keys()),
        ("unexpected", given.keys() - wanted.keys()),
    ):
        if names:
            raise UnavailableError(
                f"{what} adapter keys: {', '.join(sorted(names)[:3])} ({len(names)} of {len(wanted)})",
                place=str(path),
                hint="the adapter belongs to another model, or its file is incomplete",
            )
    if bad := sorted(name for name, tensor in given.items() if tuple(tensor.shape) != wanted[name]):
        raise UnavailableError(
            f"adapter tensor {bad[0]} has shape {tuple(given[bad[0]].shape)}, not {wanted[bad[0]]}",
            place=str(path),
            hint="the adapter belongs to another base model",
        )
    with _quiet_peft():
        set_peft_model_state_dict(wrapped, given)
    if not any(tensor.any() for name, tensor in given.items() if ".lora_B." in name):
        log.warning("%s: the adapter is all zeros; the model behaves like its base", folder)
    return wrapped


def create(
    model: torch.nn.Module,
    *,
    r: int,
    alpha: int,
    dropout: float,
    targets: Sequence[str],
    dora: bool,
    seed: int,
    vision: str = "frozen",
) -> Any:
    """`model` wrapped by peft with a fresh LoRA or DoRA adapter, gaussian start as VLM2Vec's; all else is
    frozen.

    `vision` "merger" or "trained" makes a trained copy of the merger or of the whole vision tower a part of
    the adapter (peft's modules_to_save).
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=target_modules(targets),
        init_lora_weights="gaussian",
        use_dora=dora,
        bias="none",
        modules_to_save=vision_parts(model, vision) or None,
    )
    torch.manual_seed(seed)
    with _quiet_peft():
        try:
            wrapped = get_peft_model(model, config)
        except ValueError as error:
            raise UsageError(f"--lora-targets: {first_line(error)}") from error
    for parameter in wrapped.parameters():
        if parameter.requires_grad:  # what is trained is kept in float32, the frozen base as it is
            parameter.data = parameter.data.float()
    return wrapped


def target_modules(names: Sequence[str]) -> list[str]:
    """Module names, those of a named set in its place.

    >>> target_modules(["vlm2vec-v2"])
    ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'down_proj']
    """
    return list(dict.fromkeys(module for name in names for module in TARGETS.get(name, (name,))))


def vision_parts(model: torch.nn.Module, vision: str) -> list[str]:
    """Names of the modules of a Qwen-VL model's tower that --vision trains: none when frozen, all of it, or
    the mergers: that at its end and, in Qwen3-VL, those of its inner layers."""
    if vision == "frozen":
        return []
    if vision == "trained":
        return ["visual"]
    names = (name for name, _ in model.named_modules())
    return [name for name in names if re.fullmatch(r"visual\.(merger|deepstack_merger_list\.\d+)", name)]


@contextlib.contextmanager
def _quiet_peft() -> Iterator[None]:
    """peft warns of what is meant here: the folder of the base is not its name, and of its own
    deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def inner_key(name: str) -> str:
    """An adapter's tensor name as the current inner model spells it, whichever library version wrote it."""
    name = _bare(name).replace("base_model.model.model.", "base_model.model.", 1)
    for stored, ours in _NAMES:
        name = re.sub(rf"^base_model\.model\.{stored}", f"base_model.model.{ours}", name)
    return name


def outer_key(name: str) -> str:
    """The inverse for writing: as stock transformers 5 and peft expect it on the model with its head."""
    return _bare(name).replace("base_model.model.", "base_model.model.model.", 1)


def _bare(name: str) -> str:
    return name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def _weights(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def first_line(error: Exception) -> str:
    """What an error of a library says first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UnavailableError when it is none."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise UnavailableError(f"not JSON: {error}", place=str(path)) from None
    if not isinstance(value, dict):
        raise UnavailableError("expected one JSON object", place=str(path))
    return value
