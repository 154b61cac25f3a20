"""What a model name or folder holds, and how it is loaded: strictly, or not at all.

Looks at the files, never at hope: weight shards make a full model, adapter_config.json an adapter on its
base, both together a full model whose spare adapter is left out (it is already merged) and said so.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli import adapters, backbones, hub, released
from vlm2vec_cli.backbones import Backbone, Limits, _limits
from vlm2vec_cli.engine import memory
from vlm2vec_cli.errors import UnavailableError, UsageError

log = logging.getLogger(__name__)

META = "vlm2vec.json"
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# What makes a folder a model, full or adapter.
MODEL_FILES = (*_WEIGHTS, "*.index.json", *adapters.WEIGHTS, adapters.CONFIG)
MERGED = "merged_adapter"  # key of vlm2vec.json


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk."""

    name: str  # as the user wrote it
    folder: Path  # the folder with tokenizer and vlm2vec.json
    weights: Path  # the folder with full weights
    base: str = ""  # what an adapter trained on these weights calls its base: a hub id, or a folder
    adapter: Path | None = None  # the folder with an adapter to put on top
    revision: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)  # vlm2vec.json

    def limits(self, **given: int | None) -> Limits:
        """Pixel, frame and token limits: what is given, else what the checkpoint records, else VLM2Vec-V2's.

        preprocessor_config.json does not count: the published ones differ from what the models were trained
        with.
        """
        return _limits.of(self.meta.get("limits", {}), given, self.name)

    @property
    def model_type(self) -> str:
        """The `model_type` of config.json; empty without one."""
        config = self.weights / "config.json"
        kind = adapters.read_json(config).get("model_type", "") if config.is_file() else ""
        return str(kind)


def find(
    name: str, *, adapter: str | None = None, revision: str | None = None, config: str | None = None
) -> Checkpoint:
    """The checkpoint behind a folder or hub id. Raises UnavailableError when there is none.

    What its own files leave open is filled from the entries of `released`; an adapter's files and entry win
    over those of the model below it, the entry in the file `config` over all.
    """
    own = released.read(config) if config else {}
    entry = _entry(name)
    found = _find(name, adapter, revision, entry, own)
    meta = _layered(entry, found.meta, own)
    if (pooling := meta.get("pooling", "last")) not in ("last", "eos"):
        raise UnavailableError(
            f"pooling {pooling!r} is not supported", place=name, hint="the last token's state is"
        )
    if "prompt_family" not in meta and (kind := found.model_type) in backbones.served():
        meta["prompt_family"] = backbones.serving(kind).PROMPT_FAMILIES[0]
    return replace(found, meta=meta)


def _find(
    name: str, adapter: str | None, revision: str | None, entry: released.Entry, own: released.Entry
) -> Checkpoint:
    folder, revision = hub.described(name, revision or own.get("revision"), entry)
    meta = _recorded(folder)
    full, spare = _holds(folder, _WEIGHTS), (folder / adapters.CONFIG).is_file()
    known = {**entry, **own}
    if adapter:
        extra, _ = hub.described(adapter, None, _entry(adapter))
        if not (extra / adapters.CONFIG).is_file():
            raise UnavailableError(f"no {adapters.CONFIG}", place=adapter, hint="name a PEFT adapter folder")
        if (
            full
            and (added := adapters.digest(extra))
            and added in (adapters.digest(folder), meta.get(MERGED))
        ):
            raise UsageError(
                f"--adapter {adapter}: {name} already holds this adapter", hint="leave --adapter out"
            )
        weights, base = (folder, _base_name(name)) if full else _base(folder, known)
        _warn_of_other_base(adapter, extra, base)
        recorded = _recorded(extra)
        over = _layered({} if recorded else meta, _entry(adapter), recorded)
        return Checkpoint(name, extra if recorded else folder, weights, base, extra, revision, over)
    if full:
        if spare:
            log.warning(
                "%s: full weights and an adapter; the weights are used, the adapter is left out", name
            )
        return Checkpoint(name, folder, folder, _base_name(name), None, revision, meta)
    if spare:
        return Checkpoint(name, folder, *_base(folder, known), folder, revision, meta)
    raise UnavailableError(
        "no weights and no adapter in this folder",
        place=name,
        hint=f"expected {_WEIGHTS[0]}, {_WEIGHTS[1]} or {adapters.CONFIG}",
    )


def _entry(name: str) -> released.Entry:
    return released.find(name, Path(name) if Path(name).is_dir() else None)


def _recorded(folder: Path) -> dict[str, Any]:
    """What vlm2vec.json says; empty without one."""
    path = folder / META
    meta = adapters.read_json(path) if path.is_file() else {}
    if not isinstance(meta.get("limits", {}), dict):
        raise UnavailableError(f"limits: expected an object, got {meta['limits']!r}", place=str(path))
    return meta


def _layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later facts over earlier ones, limits one by one."""
    meta = {key: value for layer in layers for key, value in layer.items()}
    limits = {key: value for layer in layers for key, value in layer.get("limits", {}).items()}
    return {**meta, **({"limits": limits} if limits else {})}


def _warn_of_other_base(adapter: str, folder: Path, base: str) -> None:
    """Shapes do not tell a model from its sibling; names of the hub do."""
    own = adapters.base(folder)
    if all(re.fullmatch(hub.HUB_ID, name) and not Path(name).is_dir() for name in (own, base)):
        last, given = own.rpartition("/")[2], base.rpartition("/")[2]
        if last.lower() != given.lower():
            log.warning("%s: the adapter was trained on %s, not on %s", adapter, own, base)


def load(
    checkpoint: Checkpoint, limits: Limits, *, dtype: torch.dtype, device: torch.device | str
) -> Backbone:
    """The model with its adapter merged, ready to embed."""
    backbone = load_base(checkpoint, limits, dtype=dtype, device=device)
    if checkpoint.adapter:
        backbone.model = adapters.attach(backbone.model, checkpoint.adapter).merge_and_unload()
        backbone.model.eval()
    return backbone


def load_base(
    checkpoint: Checkpoint, limits: Limits, *, dtype: torch.dtype, device: torch.device | str
) -> Backbone:
    """The full weights below any adapter."""
    family = checkpoint.meta.get("prompt_family")
    config = checkpoint.weights / "config.json"
    if not config.is_file():
        raise UnavailableError("no config.json", place=str(checkpoint.weights))
    if (kind := checkpoint.model_type) not in backbones.served():
        raise UnavailableError(
            f"model_type {kind!r} is not supported",
            place=str(config),
            hint=f"supported: {', '.join(backbones.served())}",
        )
    tokenizer = next(
        (
            where
            for where in (checkpoint.folder, checkpoint.weights)
            if (where / "tokenizer_config.json").is_file()
        ),
        checkpoint.weights,
    )
    memory.keep_freed(torch.device(device))
    module = backbones.serving(kind, family)
    backbone: Backbone = module.load(
        checkpoint.weights, tokenizer, limits, family=family, dtype=dtype, device=device
    )
    return backbone


def _holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))


def _base_name(name: str) -> str:
    return str(Path(name).absolute()) if name != hub.SHIPPED and Path(name).is_dir() else name


def _base(folder: Path, known: Mapping[str, Any]) -> tuple[Path, str]:
    """The folder with the full weights that an adapter names as its base, and what others may call it.

    An adapter that names a folder of its author's is put on what is known to be its base.
    """
    base = adapters.base(folder)
    for near in (Path(base), folder / base, folder.parent / base):
        if base and near.is_dir() and _holds(near, _WEIGHTS):
            return near, str(near.absolute())
    if "base" in known and not re.fullmatch(hub.HUB_ID, base):
        base = known["base"]
    try:
        return hub.folder(base, None)[0], base
    except UnavailableError as error:
        raise UnavailableError(
            f"base model {base!r} of the adapter is not available: {error.fact}",
            place=str(folder),
            hint="give the base with -m BASE --adapter FOLDER",
        ) from None
