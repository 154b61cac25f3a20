"""Vectors that are not finite are an error that names their rows, and are never written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vlm2vec_cli.errors import UnavailableError


def check_finite(rows: NDArray[np.float32], places: Sequence[str], model: str, dtype: torch.dtype) -> None:
    """Raises UnavailableError for a vector of `rows` (inputs, dim) with a NaN or an infinite number.

    `places` say where the inputs stand, `dtype` what the model computes in.
    """
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if not len(bad):
        return
    named = [places[number] for number in bad[:3] if places]
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    where = f": {', '.join(named)}{more}" if named else ""
    raise UnavailableError(
        f"the model gives vectors that are not finite{where}",
        place=model,
        hint="the weights are damaged: download the model again"
        if dtype == torch.float32
        else "--dtype float32",
    )
