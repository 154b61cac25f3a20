"""What a run would do, without doing it: `train --dry-run`."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch

from vlm2vec_cli.training import optimizer, weights
from vlm2vec_cli.training.encodings import cost, graph_tokens
from vlm2vec_cli.training.loop import Run
from vlm2vec_cli.training.step import share

log = logging.getLogger(__name__)

_SAMPLE = 32  # pairs of the first step that are prepared, to know how long they are
_STATES = 3  # numbers that AdamW and the gradient keep of each trained one
# Of a token: forward without a graph, forward, backward (twice the forward).
_PASSES = 4
# Numbers a token leaves in a layer for the backward pass, in hidden sizes: about what a Qwen2 block keeps.
_KEPT, _KEPT_CHECKPOINTED = 34, 1


def plan(run: Run) -> dict[str, Any]:
    """The plan as an event. Memory and time are estimates: of the model and one chunk of activations, and
    from the speed of a matrix product. Reads the media of a few pairs."""
    options = run.options
    model: Any = run.backbone.model
    rows = run.sampler.rows(0)
    batch = run.pairs.batch(rows[:_SAMPLE], run.choice)
    sides = share(batch, run.world)
    sample = run.encodings.get(list(sides.values())).values()
    with run.backbone.seeing_once() as frozen:
        in_graph = sum(graph_tokens(encoded, frozen) for encoded in sample)
    share_of_step = len(rows) / len(batch.queries)
    tokens_per_step = round(sum(map(cost, sample)) * share_of_step)
    graph_tokens_per_step = round(in_graph * share_of_step)
    run.encodings.close()
    trained = sum(one.numel() for one in optimizer.parameters(model))
    held = sum(one.numel() * one.element_size() for one in model.parameters())
    config = model.config.get_text_config()
    kept = _KEPT_CHECKPOINTED if options.gradient_checkpointing else _KEPT
    chunk = min(options.chunk_tokens, graph_tokens_per_step) if options.grad_cache else graph_tokens_per_step
    activations = chunk * config.hidden_size * config.num_hidden_layers * kept
    number = 2 if options.precision == "bf16" else 4
    decoder = sum(one.numel() for name, one in model.named_parameters() if "embed_tokens" not in name)
    seconds = 2 * _PASSES * decoder * tokens_per_step / _flops(model, options.precision) if run.steps else 0.0
    found = {
        "event": "plan",
        "pairs": len(run.pairs),
        "datasets": weights.counts(run.pairs, run.sampler),
        "steps": run.steps,
        "epochs": round(run.steps / run.sampler.steps_per_epoch, 3),
        "batch_size": options.batch_size,
        "tokens_per_step": tokens_per_step,
        "chunks_per_step": -(-graph_tokens_per_step // chunk),
        "trainable_parameters": trained,
        "parameters": sum(one.numel() for one in model.parameters()),
        "memory_mb": (held + trained * 4 * _STATES + activations * number) >> 20,
        "seconds_per_step": round(seconds, 2),
        "hours": round(seconds * run.steps / 3600, 2),
    }
    for name in list(found)[1:]:
        if name != "datasets":
            log.info("%s: %s", name.replace("_", " "), found[name])
    return found


def _flops(model: torch.nn.Module, precision: str) -> float:
    """Floating-point operations a second in a matrix product of a layer's size."""
    device = next(model.parameters()).device
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    size = 512 if device.type == "cpu" else 4096
    left = torch.ones(size, size, dtype=kind, device=device)
    best = float("inf")
    for _ in range(4):
        begin = time.perf_counter()
        float((left @ left)[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best
