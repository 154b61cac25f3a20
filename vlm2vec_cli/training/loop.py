"""The run: steps, evaluations, checkpoints, signals. Yields one event row after the other.

Longer than others: it is the one place where the order of these within a step can be read.
"""

from __future__ import annotations

import logging
import math
import resource
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.errors import DataError, StoppedError, UsageError, UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.training import augment, card, checkpoint, optimizer, stopping
from vlm2vec_cli.training.encodings import Change, Encodings, number_of
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch, Choice, Pairs
from vlm2vec_cli.training.sampling import Sampler
from vlm2vec_cli.training.step import Outcome, Unreadable, backward, share
from vlm2vec_cli.training.weights import sampler_of
from vlm2vec_cli.training.world import ALONE, World

log = logging.getLogger(__name__)

# Prepared inputs are kept between steps up to this many bytes.
_CACHE_BYTES = 1 << 28

Event = dict[str, Any]
Evaluate = Callable[[Backbone, World], Mapping[str, float]]


def _raise(error: UserError) -> None:
    raise error


def train(
    pairs: Pairs,
    backbone: Backbone,
    adapter: Any | None,
    media: MediaReader,
    options: TrainOptions,
    out: Path,
    *,
    base: str,
    facts: Mapping[str, Any],
    resume: str = "auto",
    allow_changed: Collection[str] = (),
    workers: int = 4,
    world: World = ALONE,
    evaluate: Evaluate | None = None,
    reject: Callable[[UserError], None] = _raise,
) -> Iterator[Event]:
    """Trains until the last step and leaves the model in `out`; yields start, step, eval, checkpoint and end
    events.

    `evaluate` gives each dataset's score, more is better; the model with the best mean is kept in `out/best`.
    `reject` takes the errors of rows whose media cannot be read, once a row, and may raise.
    Raises StoppedError after a signal, with a checkpoint saved, and DataError when the loss is not finite.
    """
    run = Run(pairs, backbone, adapter, media, options, out, base, facts, workers, world, evaluate, reject)
    try:
        yield from run.events(resume, allow_changed)
    finally:
        run.encodings.close()


class Run:
    """One run's parts, and how they work together."""

    def __init__(
        self,
        pairs: Pairs,
        backbone: Backbone,
        adapter: Any | None,
        media: MediaReader,
        options: TrainOptions,
        out: Path,
        base: str,
        facts: Mapping[str, Any],
        workers: int = 4,
        world: World = ALONE,
        evaluate: Evaluate | None = None,
        reject: Callable[[UserError], None] = _raise,
    ) -> None:
        if wrong := [dim for dim in options.matryoshka if not 1 <= dim <= backbone.dim]:
            raise UsageError(f"--matryoshka: expected 1 to {backbone.dim}, got {wrong[0]}")
        self.pairs, self.backbone, self.options, self.out, self.world = pairs, backbone, options, out, world
        self._adapter, self._base, self._evaluate, self._reject = adapter, base, evaluate, reject
        self.model: torch.nn.Module = backbone.model
        self.sampler: Sampler = sampler_of(pairs, options)
        self.steps = optimizer.num_steps(options, self.sampler.steps_per_epoch)
        self.encodings = Encodings(backbone, media, workers=workers, budget=_CACHE_BYTES)
        self.objective = Objective(options)
        self.objective.temperature.to(backbone.model.device)
        self.choice = Choice(options.mask_duplicates, options.num_hard_negatives, options.private_negatives)
        self.optimizer = optimizer.create(self.model, options, self.objective.temperature.parameters())
        self.best = stopping.Best()
        self._parts = {
            "optimizer": self.optimizer,
            "best": self.best,
            "temperature": self.objective.temperature,
        }
        self._recorded = options.recorded()
        self._facts = {**facts, "options": self._recorded, "data_digest": pairs.digest}
        # What a resumed run must have in common with the run it goes on with.
        more = {"model": base, "revision": facts.get("revision"), "num_processes": world.size}
        self._kept = {**self._recorded, **more, **asdict(backbone.limits)}
        self._unreadable: dict[str, UserError] = {}
        self._left_out: set[str] = set()
        self._coming: tuple[int, Batch] | None = None

    # ------------------------------------------------------------------------------------------- the whole

    def events(self, resume: str, allow_changed: Collection[str] = ()) -> Iterator[Event]:
        """See `train`."""
        checkpoint.set_seed(self.options.seed, self.world.rank)
        first = self._resumed(resume, allow_changed)
        self.model.train()
        if self.options.gradient_checkpointing:
            model: Any = self.model  # named gradient_checkpointing_enable in earlier releases of transformers
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        done = first
        with stopping.signals() as stopped:
            yield self._start(first)
            if self._is_due(first) and self.best.last < first and first:
                yield from self._evaluated(first)
            for step in range(first, self.steps):
                yield self._step(step)
                done = step + 1
                last = done == self.steps
                signal = next((name for names in self.world.gather(list(stopped)) for name in names), None)
                if signal and not last:
                    yield self._save(done)
                    raise StoppedError(
                        f"stopped by {signal} after step {done}", hint="run the same command again to go on"
                    )
                if self._is_due(done) or last:
                    yield from self._evaluated(done)
                enough = (
                    self.options.early_stopping is not None and self.best.since >= self.options.early_stopping
                )
                if enough and not last:
                    log.info("stopping early: best was step %d", self.best.step)
                    break
                if self.options.save_steps and done % self.options.save_steps == 0 and not last:
                    yield self._save(done)
        self.model.eval()
        self._publish(done)
        yield {"event": "end", "step": done, "folder": str(self.out), **self._best_event()}

    def _start(self, first: int) -> Event:
        return {
            "event": "start",
            "pairs": len(self.pairs),
            "steps": self.steps,
            "first_step": first,
            "trainable_parameters": sum(one.numel() for one in optimizer.parameters(self.model)),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "processes": self.world.size,
        }

    # -------------------------------------------------------------------------------------------- one step

    def _step(self, step: int) -> Event:
        begin, waited = time.perf_counter(), self.encodings.waited
        rate = optimizer.learning_rate(self.options, step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch, outcome = self._outcome(step)
        if not math.isfinite(outcome.loss):
            raise _not_finite("loss", outcome.loss, step, batch)
        self.world.sum_gradients(optimizer.parameters(self.model))
        most = self.options.max_grad_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(list(optimizer.parameters(self.model)), most))
        if not math.isfinite(norm):
            raise _not_finite("gradient norm", norm, step, batch)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.temperature.bound()
        seconds = time.perf_counter() - begin
        event = {
            "event": "step",
            "step": step + 1,
            "loss": outcome.loss,
            "learning_rate": rate,
            "grad_norm": norm,
            "pairs_per_s": round(len(batch.queries) / seconds, 2),
            "tokens_per_s": round(outcome.tokens / seconds),
            "waiting_share": round((self.encodings.waited - waited) / seconds, 3),
            "peak_memory_mb": _peak_memory(self.model),
            "dataset_loss": outcome.dataset_loss,
        }
        if learnt := self.objective.temperature.values():
            event["temperature"] = learnt
        if self._left_out:
            event["rows_left_out"] = len(self._left_out)
        return event

    def _outcome(self, step: int) -> tuple[Batch, Outcome]:
        """The step's gradients; again without them when rows of it turn out not to be readable."""
        state = checkpoint.random_state()
        while True:
            batch = self._batch(step)
            for side in batch.left_out:
                if side.place not in self._left_out:
                    self._left_out.add(side.place)
                    error = self._unreadable[side.key]
                    self._reject(type(error)(error.fact, place=side.place, hint=error.hint))
            if not batch.queries:
                raise DataError(f"no row of step {step + 1} can be read", place=batch.left_out[0].place)
            try:
                return batch, backward(
                    batch,
                    self.backbone,
                    self.encodings,
                    self.objective,
                    chunk_tokens=self.options.chunk_tokens if self.options.grad_cache else None,
                    autocast=self._autocast,
                    change=self._change(step),
                    world=self.world,
                    then=lambda: self._prepare(step + 1),
                )
            except Unreadable as found:
                self._unreadable.update(found.errors)
                self._coming = None
                self.optimizer.zero_grad(set_to_none=True)
                checkpoint.set_random_state(state)

    def _batch(self, step: int) -> Batch:
        if self._coming is None or self._coming[0] != step:
            rows = self.sampler.rows(step)
            self._coming = (step, self.pairs.batch(rows, self.choice, without=self._unreadable))
        return self._coming[1]

    def _prepare(self, step: int) -> None:
        """Lets the threads begin with the next step while the model is busy with this one."""
        if step < self.steps:
            self.encodings.ahead(share(self._batch(step), self.world).values())

    def _autocast(self) -> torch.autocast:
        kind = next(self.model.parameters()).device.type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.options.precision == "bf16")

    def _change(self, step: int) -> Change | None:
        strength, seed = self.options.augment, self.options.seed
        if strength == "none":
            return None

        def change(key: str, encoded: Encoded) -> Encoded:
            return augment.changed(encoded, np.random.default_rng([seed, step, number_of(key)]), strength)

        return change

    # ------------------------------------------------------------------------------ evaluation, checkpoints

    def _is_due(self, step: int) -> bool:
        return self.options.eval_steps > 0 and step % self.options.eval_steps == 0

    def _evaluated(self, step: int) -> Iterator[Event]:
        if self._evaluate is None:
            return
        state = checkpoint.random_state()
        self.model.eval()
        with self._autocast():
            scores = dict(self._evaluate(self.backbone, self.world))
        self.model.train()
        checkpoint.set_random_state(state)
        score = sum(scores.values()) / len(scores)
        better = self.best.take(score, step)
        if better and self.world.leads:
            with checkpoint.written_whole(self.out / "best") as folder:
                self._save_model(folder, step)
        yield {"event": "eval", "step": step, "score": score, "dataset_score": scores, "best": better}

    def _best_event(self) -> Event:
        if self.best.score is None:
            return {}
        return {
            "best_score": self.best.score,
            "best_step": self.best.step,
            "best_folder": str(self.out / "best"),
        }

    def _save(self, step: int) -> Event:
        path = checkpoint.path_of(self.out, step)
        random = self.world.gather(checkpoint.random_state())
        if self.world.leads:
            with checkpoint.written_whole(path) as folder:
                self._save_model(folder, step)
                checkpoint.save_weights(self.model, folder)
                checkpoint.save_state(folder, step, self.pairs.digest, self._kept, self._parts, random)
            checkpoint.prune(self.out, self.options.save_total_limit)
        self.world.gather(None)  # nobody leaves while the checkpoint is written
        return {"event": "checkpoint", "step": step, "folder": str(path)}

    def _save_model(self, folder: Path, step: int) -> None:
        facts = {**self._facts, "step": step}
        if learnt := self.objective.temperature.values():
            facts["learnt_temperature"] = learnt
        if self.best.score is not None:
            facts["evaluation"] = {"score": self.best.score, "step": self.best.step}
        checkpoint.save_model(folder, self.backbone, self._adapter, self._base, facts)
        (folder / "README.md").write_text(card.text(self._base, facts, is_adapter=self._adapter is not None))

    def _publish(self, step: int) -> None:
        if self.options.merge and self._adapter is not None:
            self._adapter.merge_and_unload()  # in place: the backbone's modules are plain ones again
            self._adapter = None
        if self.world.leads:
            with checkpoint.written_whole(self.out / "final") as folder:
                self._save_model(folder, step)
            checkpoint.publish(self.out / "final", self.out)

    def _resumed(self, resume: str, allow_changed: Collection[str]) -> int:
        found = checkpoint.find(self.out, resume)
        if found is None:
            return 0
        step = checkpoint.load_state(
            found, self.pairs.digest, self._kept, self._parts, self.world.rank, allow_changed
        )
        checkpoint.load_weights(self.model, found)
        log.info("going on from %s", found)
        return step


def _not_finite(what: str, value: float, step: int, batch: Batch) -> DataError:
    places = list(dict.fromkeys(side.place for side in batch.queries))
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return DataError(
        f"{what} is {value} at step {step + 1}",
        place=", ".join(places[:3]) + more,
        hint="lower --learning-rate",
    )


def _peak_memory(model: torch.nn.Module) -> int:
    """Megabytes: the most that was allocated on the device, or that the process held on a CPU."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used >> (20 if sys.platform == "darwin" else 10)
