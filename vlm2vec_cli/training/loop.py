"""The run: steps, schedule, checkpoints, signals. Yields one event row after the other."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from vlm2vec_cli import plugins
from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.errors import DataError, StoppedError, UsageError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.training import augment, checkpoint
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch, Pairs
from vlm2vec_cli.training.sampling import Sampler
from vlm2vec_cli.training.step import Encodings, backward

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# Prepared inputs are kept between steps up to this many bytes.
_CACHE_BYTES = 1 << 30


def num_steps(options: TrainOptions, sampler: Sampler) -> int:
    """Steps of the whole run: --max-steps, else whole epochs rounded up."""
    if options.max_steps is not None:
        return options.max_steps
    return max(1, math.ceil(options.epochs * sampler.steps_per_epoch))


def learning_rate(options: TrainOptions, step: int, steps: int) -> float:
    """The rate of step `step` (from 0): linear warm-up, then the schedule down to zero at `steps`."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, steps - options.warmup_steps)
    share = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return options.learning_rate * share[options.schedule]


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
    workers: int = 4,
) -> Iterator[dict[str, Any]]:
    """Trains until the last step and leaves the model in `out`; yields start, step, checkpoint and end
    events.

    Raises StoppedError after a signal, with a checkpoint saved, and DataError when the loss is not finite.
    """
    sampler = Sampler(
        [example.dataset for example in pairs], options.batch_size, options.seed, options.homogeneous
    )
    steps = num_steps(options, sampler)
    loss = plugins.load("losses", options.loss).loss
    if wrong := [dim for dim in options.matryoshka if not 1 <= dim <= backbone.dim]:
        raise UsageError(f"--matryoshka: expected 1 to {backbone.dim}, got {wrong[0]}")
    encodings = Encodings(backbone, media, workers=workers, budget=_CACHE_BYTES)
    model = backbone.model
    optimizer = _optimizer(model, options)
    checkpoint.set_seed(options.seed)
    recorded = options.recorded()
    # What a resumed run must have in common with the run it goes on with.
    kept = {**recorded, "model": base, "revision": facts.get("revision"), **asdict(backbone.limits)}
    first = 0
    if found := checkpoint.find(out, resume):
        first = checkpoint.load_state(found, pairs.digest, kept, {"optimizer": optimizer})
        _load_weights(model, found)
        log.info("going on from %s", found)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in model.parameters())
    start = {
        "event": "start",
        "pairs": len(pairs),
        "steps": steps,
        "first_step": first,
        "trainable_parameters": trained,
        "parameters": total,
    }

    def save(step: int) -> dict[str, Any]:
        with checkpoint.written_whole(checkpoint.path_of(out, step)) as folder:
            _save(folder, step)
            torch.save(_trainable(model), folder / "trainable.pt")
            checkpoint.save_state(folder, step, pairs.digest, kept, {"optimizer": optimizer})
        checkpoint.prune(out, options.save_total_limit)
        return {"event": "checkpoint", "step": step, "folder": str(checkpoint.path_of(out, step))}

    def _save(folder: Path, step: int) -> None:
        more = {**facts, "options": recorded, "data_digest": pairs.digest, "step": step}
        checkpoint.save_model(folder, backbone, adapter, base, more)

    model.train()
    if options.gradient_checkpointing:
        # named gradient_checkpointing_enable in earlier releases of transformers
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    with _signals() as stopped:
        yield start
        for step in range(first, steps):
            begin = time.perf_counter()
            rate = learning_rate(options, step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = pairs.batch(
                sampler.rows(step),
                mask_duplicates=options.mask_duplicates,
                num_hard_negatives=options.num_hard_negatives,
            )
            value = backward(
                batch,
                backbone,
                encodings,
                loss,
                options,
                autocast=_autocast(model, options),
                change=_change(options, step),
            )
            if not math.isfinite(value):
                raise _not_finite("loss", value, step, batch)
            norm = float(
                torch.nn.utils.clip_grad_norm_(_parameters(model), options.max_grad_norm or math.inf)
            )
            if not math.isfinite(norm):
                raise _not_finite("gradient norm", norm, step, batch)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seconds = time.perf_counter() - begin
            yield {
                "event": "step",
                "step": step + 1,
                "loss": value,
                "learning_rate": rate,
                "grad_norm": norm,
                "pairs_per_s": round(options.batch_size / seconds, 2),
            }
            last = step + 1 == steps
            if stopped or (options.save_steps and (step + 1) % options.save_steps == 0 and not last):
                yield save(step + 1)
            if stopped and not last:
                raise StoppedError(
                    f"stopped by {stopped[0]} after step {step + 1}",
                    hint="run the same command again to go on",
                )
    model.eval()
    with checkpoint.written_whole(out / "final") as folder:
        _save(folder, steps)
    checkpoint.publish(out / "final", out)
    yield {"event": "end", "step": steps, "folder": str(out)}


def _not_finite(what: str, value: float, step: int, batch: Batch) -> DataError:
    places = list(dict.fromkeys(side.place for side in batch.queries))
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return DataError(
        f"{what} is {value} at step {step + 1}",
        place=", ".join(places[:3]) + more,
        hint="lower --learning-rate",
    )


def _parameters(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _trainable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}


def _load_weights(model: torch.nn.Module, folder: Path) -> None:
    state = torch.load(folder / "trainable.pt", map_location="cpu", weights_only=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(state[name])


def _optimizer(model: torch.nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW; matrices decay, norms and biases do not."""
    matrices = [parameter for parameter in _parameters(model) if parameter.ndim > 1]
    rest = [parameter for parameter in _parameters(model) if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=options.learning_rate, fused=True
    )


def _autocast(model: torch.nn.Module, options: TrainOptions) -> Callable[[], torch.autocast]:
    device = next(model.parameters()).device.type
    return lambda: torch.autocast(device, dtype=torch.bfloat16, enabled=options.precision == "bf16")


def _change(options: TrainOptions, step: int) -> Callable[[Encoded], Encoded] | None:
    if options.augment == "none":
        return None
    generator = np.random.default_rng([options.seed, step])
    return lambda encoded: augment.changed(encoded, generator, options.augment)


@contextlib.contextmanager
def _signals() -> Iterator[list[str]]:
    """Collects the names of signals that ask to stop; the step under way is finished first, a second Ctrl-C
    does not wait for it."""
    seen: list[str] = []

    def note(number: int, _: FrameType | None) -> None:
        if seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        seen.append(signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
