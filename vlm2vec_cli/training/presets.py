"""Options from a file or under a name: `--config FILE.toml` and `--preset NAME`.

What the command line says wins over the file, the file over the preset. Nothing heavy is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from vlm2vec_cli import options
from vlm2vec_cli.errors import DataError, MissingError, UsageError, nearest

# Hyper-parameters of published runs. Not set: which data, and how much of each.
PRESETS: dict[str, dict[str, Any]] = {
    # The V2.0 script: 8 processes of 128 pairs, interleaved blocks of 64, no negatives but the batch's.
    "vlm2vec-v2": {
        "batch-size": 1024,
        "homogeneous": "64",
        "max-steps": 5000,
        "warmup-steps": 100,
        "learning-rate": 5e-5,
        "schedule": "linear",
        "temperature": 0.02,
        "lora-r": 16,
        "lora-alpha": 64,
        "lora-dropout": 0.1,
        "lora-targets": "vlm2vec-v2",
        "dora": True,
        "num-hard-negatives": 0,
        "mask-duplicates": False,
    },
    # The first release: 8 processes of 128 pairs, at most 100,000 rows a dataset, texts up to 4,096 tokens.
    "vlm2vec-v1": {
        "batch-size": 1024,
        "max-steps": 2000,
        "warmup-steps": 200,
        "learning-rate": 2e-5,
        "schedule": "linear",
        "temperature": 0.02,
        "lora-r": 8,
        "lora-alpha": 64,
        "lora-dropout": 0.1,
        "lora-targets": "vlm2vec-v2",
        "dora": True,
        "num-hard-negatives": 0,
        "mask-duplicates": False,
        "rows-per-dataset": 100_000,
        "max-length": 4096,
    },
    # Scene graphs: every query against the in-batch positives and its own neighbours' labels.
    "sgg": {
        "private-negatives": True,
        "schedule": "cosine",
        "warmup-steps": 0.1,
        "max-grad-norm": 1.0,
        "temperature": 0.02,
    },
}


def from_preset(context: typer.Context, name: str | None) -> str | None:
    """Makes the preset's values the defaults of the command."""
    if name is not None:
        if name not in PRESETS:
            known = f"known: {', '.join(PRESETS)}"
            raise UsageError(f"unknown preset {name!r}", hint=f"{nearest(name, PRESETS)} {known}".strip())
        context.default_map = {**_values(context, PRESETS[name], name), **(context.default_map or {})}
    return name


def from_file(context: typer.Context, path: str | None) -> str | None:
    """Makes the file's values the defaults of the command."""
    if path is not None:
        values = _values(context, _read(path), path)
        context.default_map = {**(context.default_map or {}), **values}
        if isinstance(preset := values.get("preset"), str) and context.params.get("preset") is None:
            from_preset(context, preset)
    return path


def _read(path: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]
    if not Path(path).is_file():
        raise MissingError("no such file", place=path, hint="check --config")
    try:
        return dict(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not TOML: {error}", place=path) from error


def _values(context: typer.Context, given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The values by parameter name, as the command line would give them."""
    params: dict[str, tuple[Any, bool]] = {}
    for one in context.command.params:
        params[options.own_name(str(one.name))] = (one, True)
        params |= {options.own_name(word.lstrip("-")): (one, True) for word in one.opts}
        params |= {options.own_name(word.lstrip("-")): (one, False) for word in one.secondary_opts}
    found: dict[str, Any] = {}
    for name, value in given.items():
        if options.own_name(name) not in params:
            raise UsageError(
                f"unknown option {name!r}", place=place, hint=nearest(options.own_name(name), params) or None
            )
        param, positive = params[options.own_name(name)]
        if isinstance(value, dict):
            value = [f"{key}={one}" for key, one in value.items()]
        several = param.multiple or param.nargs == -1
        if several and not isinstance(value, list):
            value = [value]
        elif isinstance(value, list) and not several:
            value = ",".join(map(str, value))
        found[str(param.name)] = value if positive else not value
    return found
