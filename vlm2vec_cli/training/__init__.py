"""Contrastive training: pairs in, a checkpoint folder out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli import checkpoints, encoder, plugins
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.media import MediaPolicy, MediaReader
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.training.loop import train
from vlm2vec_cli.training.options import LORA_TARGETS, TrainOptions
from vlm2vec_cli.training.pairs import Pairs

__all__ = ["Pairs", "TrainOptions", "run", "train"]


def run(records: Iterable[Record], given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A run as the command line describes it: `given` holds its options by name. Yields the events."""
    if not given["output"]:
        raise UsageError("a checkpoint folder is needed", hint="-o DIR")
    tiny = given["model"] == encoder.TINY
    if tiny and given["lora"]:
        raise UsageError("tiny has no base that an adapter could be put on", hint="leave --lora out")
    full = tiny if given["lora"] is None else not given["lora"]
    device = encoder.pick_device(given["device"])
    options = _options(given, full, device)
    pairs = Pairs(records)
    media = MediaReader(MediaPolicy(trust_paths=given["trust_paths"], allow_remote=given["allow_remote"]))
    with tempfile.TemporaryDirectory() as folder:
        name = encoder.make_tiny(Path(folder), pairs.texts(), options.seed) if tiny else given["model"]
        found = checkpoints.find(name, adapter=given["adapter"], revision=given["revision"])
        limits = found.limits(**{key: given[key] for key in ("min_pixels", "max_pixels", "num_frames")})
        # Trained weights stay in float32 under autocast; a frozen base may be stored in half the bytes.
        frozen = torch.bfloat16 if options.precision == "bf16" and not full else torch.float32
        if full:
            backbone = checkpoints.load(found, limits, dtype=torch.float32, device=device)
            backbone.model.requires_grad_(True)
            adapter = None
        else:
            backbone = checkpoints.load_base(found, limits, dtype=frozen, device=device)
            if found.adapter:
                adapter = checkpoints.attach(backbone.model, found.adapter, trainable=True)
            else:
                adapter = checkpoints.new_adapter(
                    backbone.model, r=options.lora_r, alpha=options.lora_alpha, dropout=options.lora_dropout,
                    targets=options.lora_targets, dora=options.dora, seed=options.seed,
                )  # fmt: skip
    base = found.meta.get("base_model", found.base) if full else found.base
    facts = {
        "base_model": base,
        "revision": found.revision,
        "prompt_family": found.meta.get("prompt_family", "vlm2vec-v2"),
        "dataset_counts": _counts(pairs),
    }
    yield from train(
        pairs, backbone, adapter, media, options, Path(given["output"]),
        base=base, facts=facts, resume=given["resume"],
    )  # fmt: skip


def _counts(pairs: Pairs) -> dict[str, int]:
    counts: dict[str, int] = {}
    for example in pairs:
        counts[example.dataset] = counts.get(example.dataset, 0) + 1
    return counts


def _options(given: Mapping[str, Any], full: bool, device: torch.device) -> TrainOptions:
    values = {name: given[name] for name in TrainOptions.names() if name in given}
    plugins.load("losses", values["loss"])  # an unknown name is said before anything is read
    precision = values["precision"]
    if precision not in ("auto", "bf16", "fp32"):
        raise UsageError(f"--precision: unknown {precision!r}", hint="auto, bf16 or fp32")
    if precision == "auto":
        values["precision"] = "bf16" if encoder.pick_dtype("auto", device) is torch.bfloat16 else "fp32"
    try:
        dims = tuple(int(dim) for dim in (given["matryoshka"] or "").split(",") if dim)
    except ValueError:
        raise UsageError(f"--matryoshka: expected numbers, got {given['matryoshka']!r}") from None
    targets = tuple(name.strip() for name in (given["lora_targets"] or "").split(",") if name.strip())
    return TrainOptions(
        **{**values, "full": full, "matryoshka": dims, "lora_targets": targets or LORA_TARGETS}
    )
