"""`embed --check`: the packed way against stock transformers, on rows of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from vlm2vec_cli import checkpoints
from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.encoder.encode import Encoder, Input, Vector
from vlm2vec_cli.errors import DataError, UnavailableError, UsageError, UserError

# Largest absolute difference of unit vectors.
TOLERANCE = {torch.float32: 2e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_SAME = 1e-6  # of unit vectors, what rounding leaves of an adapter that changes nothing
_PADDING = 7


def check(encoder: Encoder, inputs: Sequence[Input]) -> dict[str, float]:
    """Largest deviation of the engine's vectors from stock transformers': of each row alone, padded on the
    left and on the right; and between the rows packed together and each packed alone.

    Rows that cannot be read are left out; where none can, the first one's error is raised. Raises
    UnavailableError for a deviation above the tolerance of the number type, for an adapter that changes
    nothing and for a dimension other than the declared one; UsageError for a backbone of one's own without a
    stock forward pass.
    """
    backbone = encoder.backbone
    if not hasattr(backbone, "stock"):
        raise UsageError("--check: this backbone has no stock forward pass to compare with")
    declared = encoder.checkpoint.meta.get("dimension")
    if declared not in (None, backbone.dim):
        raise UnavailableError(
            f"--check: vectors have {backbone.dim} numbers, {declared} are declared",
            place=encoder.model,
        )
    rows = [encoder.prepared(one) for one in inputs]
    encoded = [row for row in rows if not isinstance(row, UserError)]
    if not encoded:
        raise next(
            (row for row in rows if isinstance(row, UserError)), DataError("--check: there are no rows")
        )
    together = encoder.forward(encoded)
    alone = np.concatenate([encoder.forward([one]) for one in encoded])
    found = {"alone": _difference(together, alone)}
    for name, left, right in (("stock", 0, 0), ("left", _PADDING, 0), ("right", 0, _PADDING)):
        found[name] = _difference(together, _stock(encoder, encoded, left, right))
    dtype = next(backbone.model.parameters()).dtype
    worst = max(found, key=lambda name: found[name])
    if not found[worst] <= TOLERANCE[dtype]:
        raise UnavailableError(
            f"--check: vectors deviate by {found[worst]:.1e} ({worst}), more than {TOLERANCE[dtype]:.0e}",
            place=encoder.model,
        )
    _check_adapter(encoder, encoded, alone)
    return found


@torch.inference_mode()
def _stock(encoder: Encoder, rows: Sequence[Encoded], left: int, right: int) -> Vector:
    states = torch.stack([encoder.backbone.stock(row, left=left, right=right).float() for row in rows])
    return _written(encoder, states)


def _written(encoder: Encoder, states: torch.Tensor) -> Vector:
    states = states[:, : encoder.dim]
    found: Vector = (functional.normalize(states, dim=-1) if encoder.normalize else states).cpu().numpy()
    return found


def _difference(left: Vector, right: Vector) -> float:
    """Relative to unit length."""
    length = np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-12)
    return float(np.abs((left - right) / length).max())


def _check_adapter(encoder: Encoder, rows: Sequence[Encoded], vectors: Vector) -> None:
    """Compares each row alone with itself alone, so that all there is between them is the adapter."""
    if not encoder.checkpoint.adapter:
        return
    model = encoder.backbone.model
    base = checkpoints.load_base(
        encoder.checkpoint,
        encoder.backbone.limits,
        dtype=next(model.parameters()).dtype,
        device=model.device,
    )
    if all(
        _difference(_alone(encoder, base, row), vector[None]) <= _SAME
        for row, vector in zip(rows, vectors, strict=True)
    ):
        raise UnavailableError("--check: the adapter changes nothing", place=str(encoder.checkpoint.adapter))


@torch.inference_mode()
def _alone(encoder: Encoder, base: Backbone, row: Encoded) -> Vector:
    return _written(encoder, base.forward([row]).float())
