"""The gradients of step after step: its rows, those among them that can be read, the next ones ahead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from vlm2vec_cli import generators
from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.errors import DataError, UserError
from vlm2vec_cli.training import augment
from vlm2vec_cli.training.encodings import Change, Encodings, number_of
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch, Choice, Pairs
from vlm2vec_cli.training.sampling import Sampler
from vlm2vec_cli.training.step import Outcome, Unreadable, backward, share
from vlm2vec_cli.training.world import World


class Feeding:
    """Feeds the model the batches of `sampler`.

    `reject` takes the error of each row that cannot be read, once a row, and may raise.
    """

    def __init__(
        self,
        pairs: Pairs,
        sampler: Sampler,
        choice: Choice,
        backbone: Backbone,
        encodings: Encodings,
        objective: Objective,
        options: TrainOptions,
        steps: int,
        world: World,
        reject: Callable[[UserError], None],
    ) -> None:
        self._pairs, self._sampler, self._choice, self._steps = pairs, sampler, choice, steps
        self._backbone, self._encodings, self._objective = backbone, encodings, objective
        self._options, self._world, self._reject = options, world, reject
        self._unreadable: dict[str, UserError] = {}
        self._left_out: set[str] = set()
        self._coming: tuple[int, Batch] | None = None

    @property
    def num_left_out(self) -> int:
        """Rows left out so far."""
        return len(self._left_out)

    def backward(self, step: int) -> tuple[Batch, Outcome]:
        """Accumulates the step's gradients. Rows that turn out not to be readable are left out and the step
        begins anew: they are met before there are gradients."""
        state = generators.random_state()
        while True:
            batch = self._batch(step)
            self._say_left_out(batch)
            if not batch.queries:
                raise DataError(f"no row of step {step + 1} can be read", place=batch.left_out[0].place)
            try:
                return batch, backward(
                    batch,
                    self._backbone,
                    self._encodings,
                    self._objective,
                    chunk_tokens=self._options.chunk_tokens if self._options.grad_cache else None,
                    autocast=self.autocast,
                    change=self._change(step),
                    world=self._world,
                    then=lambda: self._prepare(step + 1),
                )
            except Unreadable as found:
                self._unreadable.update(found.errors)
                self._coming = None
                generators.set_random_state(state)

    def autocast(self) -> torch.autocast:
        """The precision of the model's passes."""
        kind = next(self._backbone.model.parameters()).device.type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self._options.precision == "bf16")

    def _say_left_out(self, batch: Batch) -> None:
        for side in batch.left_out:
            if side.place not in self._left_out:
                self._left_out.add(side.place)
                error = self._unreadable[side.key]
                self._reject(type(error)(error.fact, place=side.place, hint=error.hint))

    def _batch(self, step: int) -> Batch:
        if self._coming is None or self._coming[0] != step:
            rows = self._sampler.rows(step)
            self._coming = (step, self._pairs.batch(rows, self._choice, without=self._unreadable))
        return self._coming[1]

    def _prepare(self, step: int) -> None:
        """Lets the threads begin with the next step while the model is busy with this one."""
        if step < self._steps:
            self._encodings.ahead(share(self._batch(step), self._world).values())

    def _change(self, step: int) -> Change | None:
        strength, seed = self._options.augment, self._options.seed
        if strength == "none":
            return None

        def change(key: str, encoded: Encoded) -> Encoded:
            return augment.changed(encoded, np.random.default_rng([seed, step, number_of(key)]), strength)

        return change
