"""Which rows form which step: a pure function of (data, weights, seed, step), whatever happened before.

Every epoch shuffles each dataset anew, cuts it into blocks, and shuffles the blocks. Steps read the endless
sequence of epochs in slices of one batch, so that any step can be found without walking to it. What a block
is made of: `vlm2vec_cli.training.blocks`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.training import blocks

Ints = NDArray[np.int64]


class Sampler:
    """`rows(step)` gives the row numbers of one global batch, in order."""

    def __init__(
        self,
        datasets: Sequence[str],
        batch_size: int,
        seed: int,
        homogeneous: int | Sequence[int] = 0,
        weights: Mapping[str, float] | None = None,
        positives: ArrayLike | None = None,
        mined: ArrayLike | None = None,
    ) -> None:
        """`datasets` names the dataset of each row. With `homogeneous` N, runs of N rows share a dataset; the
        rest of a dataset that fills no block waits for the next epoch's shuffle (a dataset smaller than N is
        repeated). A number for each row gives datasets blocks of their own size (that of a dataset's first
        row); each has to divide the largest, so that a batch is made of whole blocks.

        A dataset of weight W (1 where none is given) has W passes in each epoch. Rows with one number in
        `positives` have the same positive and are kept apart; rows with one number in `mined` (below 0: none)
        are kept together.
        """
        self._batch_size = batch_size
        self._seed = seed
        sizes = [homogeneous] * len(datasets) if isinstance(homogeneous, int) else list(homogeneous)
        weights = weights or {}
        apart = any(sizes) or any(weights.get(name, 1.0) != 1.0 for name in set(datasets))
        names = list(dict.fromkeys(datasets)) if apart else [""]
        at = {name: number for number, name in enumerate(names)}
        label = np.array([at[name] if apart else 0 for name in datasets])
        self._groups = [np.flatnonzero(label == number) for number in range(len(names))]
        self._blocks = [max(1, sizes[int(group[0])]) for group in self._groups]
        self._weights = [weights.get(name, 1.0) for name in names]
        self._positives = None if positives is None else np.asarray(positives)
        self._mined = None if mined is None else np.asarray(mined)
        self._last: tuple[int, Ints] | None = None
        self._epoch_rows = len(self._epoch(0))
        if not self._epoch_rows:
            raise UsageError("--dataset-weight leaves no rows")

    @property
    def steps_per_epoch(self) -> float:
        """Steps that one pass over the rows takes."""
        return self._epoch_rows / self._batch_size

    @property
    def epoch_rows(self) -> Ints:
        """The rows of the first epoch in order."""
        return self._epoch(0)

    def rows(self, step: int) -> list[int]:
        """Row numbers of step `step` (from 0), `batch_size` of them."""
        first = step * self._batch_size
        rows: list[int] = []
        while len(rows) < self._batch_size:
            epoch, offset = divmod(first + len(rows), self._epoch_rows)
            rows.extend(self._epoch(epoch)[offset : offset + self._batch_size - len(rows)].tolist())
        return rows

    def _epoch(self, number: int) -> Ints:
        if self._last is None or self._last[0] != number:
            self._last = (number, self._drawn(number))
        return self._last[1]

    def _drawn(self, number: int) -> Ints:
        generator = np.random.default_rng([self._seed, number])
        largest = max(self._blocks)
        cut: dict[int, list[Ints]] = {}
        for group, block, weight in zip(self._groups, self._blocks, self._weights, strict=True):
            order = _passes(group, weight, generator)
            if 0 < len(order) < block:
                order = np.resize(order, block)
            cut.setdefault(block, []).append(self._cut(order, block))
        # Blocks of one size stand together in runs of the largest size, so that none is cut by a batch's end.
        runs = []
        for block in sorted(cut):
            stacked = np.concatenate(cut[block])
            if block != largest:
                stacked = stacked[generator.permutation(len(stacked))].ravel()
                if 0 < len(stacked) < largest:
                    stacked = np.resize(stacked, largest)
                stacked = stacked[: len(stacked) // largest * largest].reshape(-1, largest)
            runs.append(stacked)
        rows = np.concatenate(runs)
        return rows[generator.permutation(len(rows))].ravel()

    def _cut(self, order: Ints, block: int) -> Ints:
        """Blocks, a row each."""
        if block > 1 and self._mined is not None and (self._mined[order] >= 0).any():
            order = blocks.together(order, self._mined[order], block)
            return order[: len(order) // block * block].reshape(-1, block)
        stacked = order[: len(order) // block * block].reshape(-1, block)
        return stacked if self._positives is None else blocks.apart(stacked, self._positives[stacked])


def _passes(group: Ints, weight: float, generator: np.random.Generator) -> Ints:
    """The rows of a group in random order, `weight` times over; the last pass may be a part of one."""
    if weight == 1.0:
        return generator.permutation(group)
    number = round(weight * len(group))
    passes = [generator.permutation(group) for _ in range(math.ceil(number / len(group)))]
    return np.concatenate([group[:0], *passes])[:number]
