"""The limits of a model: what is given, else what is recorded, else VLM2Vec-V2's; each checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vlm2vec_cli.backbones import RESIZES, Limits
from vlm2vec_cli.engine import pixels
from vlm2vec_cli.errors import UnavailableError, UsageError

_NAMES = {one.name for one in fields(Limits)}
_DEFAULTS: Mapping[str, int | None] = {
    "min_pixels": pixels.MIN_PIXELS,
    "max_pixels": pixels.MAX_PIXELS,
    "num_frames": 8,
    "max_length": None,
}


def of(recorded: Mapping[str, Any], given: Mapping[str, int | None], place: str) -> Limits:
    """Raises UnavailableError at `place` for what is no limit, UsageError for limits that exclude each
    other."""
    known = {**_DEFAULTS, **recorded}
    known.update((name, value) for name, value in given.items() if value is not None)
    if unknown := sorted(known.keys() - _NAMES):
        raise UnavailableError(
            f"unknown limit {unknown[0]!r}", place=place, hint=f"known: {', '.join(sorted(_NAMES))}"
        )
    if known.get("resize") not in (None, *RESIZES):
        raise UnavailableError(f"unknown resize {known['resize']!r}", place=place, hint=", ".join(RESIZES))
    for name in sorted(known.keys() - {"resize"}):
        value = known[name]
        if not (type(value) is int and value > 0) and (value is not None or name != "max_length"):
            raise UnavailableError(
                f"limit {name}: expected a number of at least 1, got {value!r}", place=place
            )
    limits = Limits(**known)
    if limits.min_pixels > limits.max_pixels:
        raise UsageError(
            f"--min-pixels {limits.min_pixels} is above --max-pixels {limits.max_pixels}", hint="give both"
        )
    return limits
