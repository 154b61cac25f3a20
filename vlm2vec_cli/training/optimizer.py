"""The optimizer and its learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch

from vlm2vec_cli.errors import UnavailableError
from vlm2vec_cli.training.options import TrainOptions


def num_steps(options: TrainOptions, steps_per_epoch: float) -> int:
    """Steps of the whole run: --max-steps, else whole epochs rounded up."""
    if options.max_steps is not None:
        return options.max_steps
    return max(1, math.ceil(options.epochs * steps_per_epoch))


def learning_rate(options: TrainOptions, step: int, steps: int) -> float:
    """The rate of step `step` (from 0): linear warm-up, then the schedule down to zero at `steps`.

    Warm-up below 1 is a share of all steps.
    """
    warmup = options.warmup_steps if options.warmup_steps >= 1 else math.ceil(options.warmup_steps * steps)
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    share = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return options.learning_rate * share[options.schedule]


def parameters(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """What is trained, in the model's order."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def create(
    model: torch.nn.Module, options: TrainOptions, more: Iterable[torch.nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """AdamW; matrices decay, norms, biases and `more` do not. Raises UnavailableError when the 8-bit one has
    no library."""
    matrices = [parameter for parameter in parameters(model) if parameter.ndim > 1]
    rest = [parameter for parameter in parameters(model) if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": rest, "weight_decay": 0.0},
        # Apart: one call updates either whole tensors or those of a sharded model.
        {"params": list(more), "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    betas = (options.adam_beta1, options.adam_beta2)
    if options.optimizer == "adamw-8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise UnavailableError(
                "--optimizer adamw-8bit needs the package bitsandbytes", hint="pip install bitsandbytes"
            ) from error
        made: torch.optim.Optimizer = AdamW8bit(filled, lr=options.learning_rate, betas=betas)
        return made
    return torch.optim.AdamW(filled, lr=options.learning_rate, betas=betas, fused=True)
