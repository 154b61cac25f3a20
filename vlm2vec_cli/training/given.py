"""The command line's words as TrainOptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vlm2vec_cli import encoder
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.training.options import Named, TrainOptions


def precision(name: str, device: torch.device) -> str:
    """bf16 or fp32; `auto` is what `embed` takes."""
    if name != "auto":
        return name
    return "bf16" if encoder.pick_dtype("auto", device) is torch.bfloat16 else "fp32"


def options_of(given: Mapping[str, Any], full: bool) -> TrainOptions:
    """The options, without LoRA targets where none are named. Raises UsageError for what is none."""
    values = {name: given[name] for name in TrainOptions.names() if name in given}
    if values["precision"] not in ("auto", "bf16", "fp32"):
        raise UsageError(f"--precision: unknown {values['precision']!r}", hint="auto, bf16 or fp32")
    block, modalities = _blocks(given["homogeneous"])
    most, own_most = _rows(given["rows_per_dataset"])
    warmup = given["warmup_steps"]
    targets = tuple(name.strip() for name in (given["lora_targets"] or "").split(",") if name.strip())
    return TrainOptions(
        **{
            **values,
            "full": full,
            "vision": given["vision"] or ("trained" if full else "frozen"),
            "homogeneous": block,
            "homogeneous_modality": modalities,
            "warmup_steps": int(warmup) if warmup == int(warmup) else warmup,
            "matryoshka": tuple(int(one) for one in _numbers("--matryoshka", given["matryoshka"], int)),
            "matryoshka_weights": _numbers("--matryoshka-weights", given["matryoshka_weights"], float),
            "rows_per_dataset": most,
            "dataset_rows": own_most,
            "dataset_weight": _named("--dataset-weight", given["dataset_weight"]),
            "dataset_temperatures": _named("--dataset-temperature", given["dataset_temperature"]),
            "loss_options": _named("--loss-option", given["loss_option"]),
            "lora_targets": targets,
        }
    )


def _numbers(option: str, text: str | None, kind: type) -> tuple[float, ...]:
    try:
        return tuple(kind(one) for one in (text or "").split(",") if one)
    except ValueError:
        raise UsageError(f"{option}: expected numbers, got {text!r}") from None


def _named(option: str, words: Sequence[str] | None) -> Named:
    """NAME=NUMBER, of each."""
    found = []
    for word in words or ():
        name, _, number = word.rpartition("=")
        try:
            found.append((name, float(number)))
        except ValueError:
            name = ""
        if not name:
            raise UsageError(f"{option}: expected NAME=NUMBER, got {word!r}")
    return tuple(found)


def _rows(words: Sequence[str] | None) -> tuple[int | None, Named]:
    """N for all, and NAME=N."""
    option = "--rows-per-dataset"
    most = [_numbers(option, word, int) for word in words or () if "=" not in word]
    named = _named(option, [word for word in words or () if "=" in word])
    return (int(most[-1][0]) if most else None), named


def _blocks(text: str) -> tuple[int, Named]:
    """`64`, or `64,video=1024,visdoc=1024`: one size for all, and those of modalities."""
    block, named = 0, []
    for word in text.split(","):
        name, equals, number = word.strip().rpartition("=")
        try:
            value = int(number)
        except ValueError:
            raise UsageError(f"--homogeneous: expected N or MODALITY=N, got {word!r}") from None
        if equals:
            named.append((name, float(value)))
        else:
            block = value
    return block, tuple(named)
