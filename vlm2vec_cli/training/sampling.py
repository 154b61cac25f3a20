"""Which rows form which step: a pure function of (datasets, seed, step), whatever happened before.

Every epoch shuffles each dataset anew, cuts it into blocks, and shuffles the blocks. Steps read the endless
sequence of epochs in slices of one batch, so that any step can be found without walking to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Sampler:
    """`rows(step)` gives the row numbers of one global batch, in order."""

    def __init__(self, datasets: Sequence[str], batch_size: int, seed: int, homogeneous: int = 0) -> None:
        """`datasets` names the dataset of each row. With `homogeneous` N, runs of N rows share a dataset; the
        rest of a dataset that fills no block waits for the next epoch's shuffle (a dataset smaller than N is
        repeated)."""
        self._batch_size = batch_size
        self._seed = seed
        self._block = homogeneous or 1
        names = list(dict.fromkeys(datasets)) if homogeneous else [""]
        at = {name: number for number, name in enumerate(names)}
        label = np.array([at[name] if homogeneous else 0 for name in datasets])
        self._groups = [np.flatnonzero(label == number) for number in range(len(names))]
        self._epoch_rows = len(self._epoch(0))

    @property
    def steps_per_epoch(self) -> float:
        """Steps that one pass over the rows takes."""
        return self._epoch_rows / self._batch_size

    def rows(self, step: int) -> list[int]:
        """Row numbers of step `step` (from 0), `batch_size` of them."""
        first = step * self._batch_size
        rows: list[int] = []
        while len(rows) < self._batch_size:
            epoch, offset = divmod(first + len(rows), self._epoch_rows)
            rows.extend(self._epoch(epoch)[offset : offset + self._batch_size - len(rows)].tolist())
        return rows

    def _epoch(self, number: int) -> NDArray[np.int64]:
        generator = np.random.default_rng([self._seed, number])
        blocks = []
        for group in self._groups:
            order = generator.permutation(group)
            if len(order) < self._block:
                order = np.resize(order, self._block)
            blocks.append(order[: len(order) // self._block * self._block].reshape(-1, self._block))
        stacked = np.concatenate(blocks)
        return stacked[generator.permutation(len(stacked))].ravel()
