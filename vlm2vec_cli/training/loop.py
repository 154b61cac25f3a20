"""The run: steps, evaluations, checkpoints, signals. Yields one event row after the other.

One file, since when each of them comes depends on the others: what resuming gives to the bit is decided here.
"""

from __future__ import annotations

import contextlib
import logging
import math
import resource
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from vlm2vec_cli import generators, streams
from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.errors import DataError, StoppedError, UsageError, UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.training import checkpoint, folders, optimizer, stopping
from vlm2vec_cli.training.encodings import Encodings
from vlm2vec_cli.training.feeding import Feeding
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch, Choice, Pairs
from vlm2vec_cli.training.sampling import Sampler
from vlm2vec_cli.training.saving import Saving
from vlm2vec_cli.training.weights import sampler_of
from vlm2vec_cli.training.world import ALONE, World

log = logging.getLogger(__name__)

# Prepared inputs are kept between steps up to this many bytes.
_CACHE_BYTES = 1 << 28

Event = dict[str, Any]


class Evaluate(Protocol):
    """Gives each dataset's score, more is better; `digest` says on what. An error is one of all processes."""

    digest: str

    def __call__(self, backbone: Backbone, world: World) -> Mapping[str, float]:
        """The scores of the model as it is."""
        ...


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

    The model with the best mean of `evaluate` is kept in `out/best`; when it fails, a checkpoint is saved.
    `reject` takes the errors of rows whose media cannot be read, once a row, and may raise.
    Raises StoppedError after a signal, with a checkpoint saved, and DataError when the loss is not finite.
    """
    run = Run(pairs, backbone, adapter, media, options, out, base, facts, workers, world, evaluate, reject)
    try:
        with streams.alone(out) if world.leads else contextlib.nullcontext():
            if world.leads:
                folders.tidy(out)
            world.gather(None)  # nobody looks for a checkpoint before
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
        self.pairs, self.backbone, self.options, self.world = pairs, backbone, options, world
        self._evaluate = evaluate
        self.model: torch.nn.Module = backbone.model
        self.sampler: Sampler = sampler_of(pairs, options)
        self.steps = optimizer.num_steps(options, self.sampler.steps_per_epoch)
        self.encodings = Encodings(backbone, media, workers=workers, budget=_CACHE_BYTES)
        self.objective = Objective(options)
        self.objective.temperature.to(backbone.model.device)
        self.choice = Choice(options.mask_duplicates, options.num_hard_negatives, options.private_negatives)
        self.optimizer = optimizer.create(self.model, options, self.objective.temperature.parameters())
        self.standing = stopping.Standing(None if evaluate is None else evaluate.digest)
        self.feeding = Feeding(
            pairs, self.sampler, self.choice, backbone, self.encodings, self.objective, options, self.steps,
            world, reject,
        )  # fmt: skip
        self.saving = Saving(
            out, backbone, adapter, base, facts, options, pairs.digest, self.optimizer,
            self.objective.temperature, self.standing, world,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------- the whole

    def events(self, resume: str, allow_changed: Collection[str] = ()) -> Iterator[Event]:
        """See `train`."""
        checkpoint.set_seed(self.options.seed, self.world.rank)
        first = self.saving.resumed(resume, allow_changed)
        self.model.train()
        if self.options.gradient_checkpointing:
            model: Any = self.model  # named gradient_checkpointing_enable in earlier releases of transformers
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        done = first
        with stopping.signals() as stopped:
            yield self._start(first)
            if first and (self._is_due(first) or first == self.steps) and self.standing.last < first:
                yield from self._evaluated(first)
            for step in range(first, self.steps):
                if self._is_enough():
                    log.info("stopping early: best was step %d", self.standing.step)
                    break
                yield self._step(step)
                done = step + 1
                last = done == self.steps
                signal = next((name for names in self.world.gather(list(stopped)) for name in names), None)
                if signal and not last:
                    yield self._save(done)
                    again = "again" if resume == "auto" else "with --resume auto"
                    raise StoppedError(
                        f"stopped by {signal} after step {done}",
                        hint=f"run the same command {again} to go on",
                    )
                if self._is_due(done) or last:
                    yield from self._evaluated(done)
                due = self.options.save_steps and done % self.options.save_steps == 0
                if due and not last and not self._is_enough():
                    yield self._save(done)
            self.model.eval()
            end = {"event": "end", "step": done, **self.saving.publish(done)}
        yield end

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
        batch, outcome = self.feeding.backward(step)
        if not math.isfinite(outcome.loss):
            raise _not_finite("loss", outcome.loss, step, outcome.not_finite or _places(batch))
        self.world.sum_gradients(optimizer.parameters(self.model))
        most = self.options.max_grad_norm or math.inf
        norm = self.world.clip_gradients(list(optimizer.parameters(self.model)), most)
        if not math.isfinite(norm):
            raise _not_finite("gradient norm", norm, step, _places(batch))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.temperature.bound()
        seconds = time.perf_counter() - begin
        self.standing.losses = {"loss": outcome.loss, "dataset_loss": outcome.dataset_loss}
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
        if self.feeding.num_left_out:
            event["rows_left_out"] = self.feeding.num_left_out
        return event

    # ------------------------------------------------------------------------------ evaluations, checkpoints

    def _is_due(self, step: int) -> bool:
        return self.options.eval_steps > 0 and step % self.options.eval_steps == 0

    def _is_enough(self) -> bool:
        most = self.options.early_stopping
        return most is not None and self.standing.since >= most

    def _evaluated(self, step: int) -> Iterator[Event]:
        if self._evaluate is None:
            return
        state, failed = generators.random_state(), None
        self.model.eval()
        try:
            with self.feeding.autocast():
                scores = dict(self._evaluate(self.backbone, self.world))
        except UserError as error:
            if self.world.ended:
                raise
            failed = error
        self.model.train()
        generators.set_random_state(state)
        if failed is not None:
            yield (saved := self._save(step))
            if self.world.leads:
                log.warning("the evaluation after step %d failed; %s is saved", step, saved["folder"])
            raise failed
        better = self.standing.take(scores, step)
        if better:
            self.saving.save_best(step)
        score = stopping.mean(scores)
        yield {"event": "eval", "step": step, "score": score, "dataset_score": scores, "best": better}

    def _save(self, step: int) -> Event:
        return {"event": "checkpoint", "step": step, "folder": str(self.saving.save(step))}


def _places(batch: Batch) -> list[str]:
    return list(dict.fromkeys(side.place for side in batch.queries))


def _not_finite(what: str, value: float, step: int, places: Sequence[str]) -> DataError:
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
