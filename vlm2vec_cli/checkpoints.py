"""What a model name or folder holds, and how it is loaded: strictly, or not at all.

Looks at the files, never at hope: weight shards make a full model, adapter_config.json an adapter on its
base, both together a full model whose spare adapter is left out (it is already merged) and said so.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli import adapters, backbones, released
from vlm2vec_cli.backbones import RESIZES, Backbone, Limits
from vlm2vec_cli.engine import pixels
from vlm2vec_cli.errors import UnavailableError, UsageError

log = logging.getLogger(__name__)

META = "vlm2vec.json"
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# What makes a folder a model, full or adapter.
MODEL_FILES = (*_WEIGHTS, "*.index.json", *adapters.WEIGHTS, adapters.CONFIG)
_DOWNLOAD = ["*.json", "*.safetensors", "*.bin", "*.txt", "*.jinja", "*.model"]
_SHIPPED = "quickstart"
_HUB_ID = r"\w[\w.-]*/\w[\w.-]*"
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
        known = {**_DEFAULT_LIMITS, **self.meta.get("limits", {})}
        known.update((name, value) for name, value in given.items() if value is not None)
        if unknown := sorted(known.keys() - _LIMITS):
            raise UnavailableError(
                f"unknown limit {unknown[0]!r}", place=self.name, hint=f"known: {', '.join(sorted(_LIMITS))}"
            )
        if known.get("resize") not in (None, *RESIZES):
            raise UnavailableError(
                f"unknown resize {known['resize']!r}", place=self.name, hint=", ".join(RESIZES)
            )
        return Limits(**known)

    @property
    def model_type(self) -> str:
        """The `model_type` of config.json; empty without one."""
        config = self.weights / "config.json"
        kind = adapters.read_json(config).get("model_type", "") if config.is_file() else ""
        return str(kind)


_DEFAULT_LIMITS: dict[str, int | None] = {
    "min_pixels": pixels.MIN_PIXELS,
    "max_pixels": pixels.MAX_PIXELS,
    "num_frames": 8,
    "max_length": None,
}


_LIMITS = {one.name for one in fields(Limits)}


def find(
    name: str, *, adapter: str | None = None, revision: str | None = None, config: str | None = None
) -> Checkpoint:
    """The checkpoint behind a folder or hub id. Raises UnavailableError when there is none.

    What its own files leave open is filled from the entries of `released`; the entry in the file `config`
    wins over both.
    """
    own = released.read(config) if config else {}
    known = {**released.find(name, Path(name) if Path(name).is_dir() else None), **own}
    found = _find(name, adapter, revision, known)
    limits = {**known.get("limits", {}), **found.meta.get("limits", {}), **own.get("limits", {})}
    meta = {**known, **found.meta, **own, **({"limits": limits} if limits else {})}
    if (pooling := meta.get("pooling", "last")) not in ("last", "eos"):
        raise UnavailableError(
            f"pooling {pooling!r} is not supported", place=name, hint="the last token's state is"
        )
    if "prompt_family" not in meta and (kind := found.model_type) in backbones.served():
        meta["prompt_family"] = backbones.serving(kind).PROMPT_FAMILIES[0]
    return replace(found, meta=meta)


def _find(name: str, adapter: str | None, revision: str | None, known: Mapping[str, Any]) -> Checkpoint:
    folder, revision = _described(name, revision, known)
    meta = adapters.read_json(folder / META) if (folder / META).is_file() else {}
    full, spare = _holds(folder, _WEIGHTS), (folder / adapters.CONFIG).is_file()
    if adapter:
        extra, _ = _folder(adapter, None)
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
        over = adapters.read_json(extra / META) if (extra / META).is_file() else meta
        own = extra if (extra / META).is_file() else folder
        return Checkpoint(name, own, weights, base, extra, revision, over)
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
    module = backbones.serving(kind, family)
    backbone: Backbone = module.load(
        checkpoint.weights, tokenizer, limits, family=family, dtype=dtype, device=device
    )
    return backbone


def _holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))


def _base_name(name: str) -> str:
    return str(Path(name).absolute()) if name != _SHIPPED and Path(name).is_dir() else name


def _base(folder: Path, known: Mapping[str, Any]) -> tuple[Path, str]:
    """The folder with the full weights that an adapter names as its base, and what others may call it.

    An adapter that names a folder of its author's is put on what is known to be its base.
    """
    base = adapters.read_json(folder / adapters.CONFIG).get("base_model_name_or_path") or ""
    for near in (Path(base), folder / base, folder.parent / base):
        if base and near.is_dir() and _holds(near, _WEIGHTS):
            return near, str(near.absolute())
    if "base" in known and not re.fullmatch(_HUB_ID, base):
        base = known["base"]
    try:
        return _folder(base, None)[0], base
    except UnavailableError as error:
        raise UnavailableError(
            f"base model {base!r} of the adapter is not available: {error.fact}",
            place=str(folder),
            hint="give the base with -m BASE --adapter FOLDER",
        ) from None


def _described(name: str, revision: str | None, known: Mapping[str, Any]) -> tuple[Path, str | None]:
    """As `_folder`; where no revision is asked for, the one that is known, if it can be had."""
    if revision is None and "revision" in known and not Path(name).is_dir():
        with contextlib.suppress(UnavailableError):
            return _folder(name, known["revision"])
    return _folder(name, revision)


def _folder(name: str, revision: str | None) -> tuple[Path, str | None]:
    """A local folder as it is, the shipped model, or a hub snapshot (from the cache when offline)."""
    if name == _SHIPPED:  # a folder of that name is ./quickstart
        from importlib.resources import files

        return Path(str(files("vlm2vec_cli.quickstart"))) / "checkpoint", None
    if name and Path(name).is_dir():
        return Path(name), revision
    if not re.fullmatch(_HUB_ID, name):
        raise UnavailableError(
            "no such model folder",
            place=name,
            hint="give a folder, a hub id like ORGANISATION/NAME, tiny or quickstart",
        )
    from huggingface_hub import snapshot_download

    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=_DOWNLOAD))
    except Exception as error:  # the hub client raises a dozen unrelated types for "not reachable"
        raise UnavailableError(
            f"cannot be fetched from the hub: {adapters.first_line(error)}",
            place=name,
            hint="check the name, or give a local folder",
        ) from None
    return path, path.name
