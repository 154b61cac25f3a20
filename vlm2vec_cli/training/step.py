"""One step: contents to representations in chunks cut by tokens, the loss, the gradients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlm2vec_cli import grad_cache
from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.grad_cache import Gathered
from vlm2vec_cli.training.encodings import Change, Encodings, cost, graph_tokens, size
from vlm2vec_cli.training.examples import Side
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.pairs import Batch
from vlm2vec_cli.training.world import ALONE, World

WINDOW_BYTES = 1 << 27  # prepared inputs that are ordered by length together


class Unreadable(Exception):
    """Contents that cannot be read, by key; every process of the run raises it."""

    def __init__(self, errors: Mapping[str, UserError]) -> None:
        super().__init__(f"{len(errors)} contents")
        self.errors = dict(errors)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to: the loss, that of each dataset in it, and the tokens that it took (each once).

    `not_finite` are the places of rows with a representation that is not finite.
    """

    loss: float
    dataset_loss: dict[str, float]
    tokens: int
    not_finite: tuple[str, ...] = ()


def backward(
    batch: Batch,
    backbone: Backbone,
    encodings: Encodings,
    objective: Objective,
    *,
    chunk_tokens: int | None,
    autocast: Callable[[], torch.autocast],
    change: Change | None = None,
    world: World = ALONE,
    then: Callable[[], None] = lambda: None,
) -> Outcome:
    """Accumulates the gradients of one batch, on several processes those of one's share of it.

    Equal contents are encoded once, and their gradient is the sum over the places they stand in.
    `chunk_tokens` None takes all in one. `change` may alter each encoded input (augmentation); it has to give
    the same every time. `then` is called before the second pass.
    Raises Unreadable when contents cannot be read.
    """
    encodings.begin()
    own = share(batch, world)
    bad: dict[str, UserError] = {}
    order: list[str] = []
    tokens = 0
    frozen = False

    def chunks() -> Iterator[list[str]]:
        nonlocal tokens
        for chunk in world.in_step(_chunks(own, encodings, chunk_tokens, frozen, bad)):
            order.extend(key for key, _ in chunk)
            tokens += sum(cost(encoded) for _, encoded in chunk)
            yield [key for key, _ in chunk]

    def encode(chunk: list[str]) -> Tensor:
        inputs = encodings.get([own[key] for key in chunk])
        changed = inputs if change is None else {key: change(key, inputs[key]) for key in chunk}
        with autocast():
            return backbone.forward([changed[key] for key in chunk]).float()

    def gather(own_ND: Tensor) -> Gathered:
        nonlocal order, tokens
        world.raise_together(None)
        told = world.gather((order, tokens, bad))
        if any(errors for *_, errors in told):
            raise Unreadable({key: error for *_, errors in told for key, error in errors.items()})
        order = [key for keys, *_ in told for key in keys]
        tokens = sum(number for _, number, _ in told)
        return world.gather_rows(own_ND)

    each_B = torch.empty(0)
    broken: tuple[str, ...] = ()

    def loss(state_ND: Tensor) -> Tensor:
        nonlocal each_B, broken
        at = {key: position for position, key in enumerate(order)}
        query_rows = torch.tensor([at[side.key] for side in batch.queries], device=state_ND.device)
        target_rows = torch.tensor([at[side.key] for side in batch.targets], device=state_ND.device)
        total, each_B = objective(state_ND, query_rows, target_rows, batch)
        if not torch.isfinite(total):
            finite = torch.isfinite(state_ND).all(dim=1).tolist()
            sides = (*batch.queries, *batch.targets)
            broken = tuple(dict.fromkeys(side.place for side in sides if not finite[at[side.key]]))
        return total

    try:
        with backbone.seeing_once() as frozen:
            value = float(grad_cache.backward(chunks(), encode, loss, gather, then))
    except Unreadable:
        raise
    except Exception as error:
        world.raise_together(error)
        raise
    world.raise_together(None)
    return Outcome(value, _by_dataset(batch.datasets, each_B), tokens, broken)


def share(batch: Batch, world: World) -> dict[str, Side]:
    """The distinct contents that this process encodes: a like number of each kind, told apart without
    reading any."""
    sides: dict[str, Side] = {}
    for side in (*batch.queries, *batch.targets):
        sides.setdefault(side.key, side)
    if world.size == 1:
        return sides
    return {
        key: sides[key]
        for key in sorted(sides, key=lambda key: _weight(sides[key]))[world.rank :: world.size]
    }


def _weight(side: Side) -> tuple[bool, bool, int, str]:
    content = side.content
    return bool(content.get("video")), bool(content.get("image")), len(content.get("text", "")), side.key


def _chunks(
    own: Mapping[str, Side], encodings: Encodings, tokens: int | None, frozen: bool, bad: dict[str, UserError]
) -> Iterator[list[tuple[str, Encoded]]]:
    """Inputs of like length together, and those that begin with the same visual, in runs that fill a graph
    with at most `tokens` tokens; one input at least. Only a window of all inputs is in memory."""
    window: list[tuple[str, Encoded]] = []
    held = 0
    for key, encoded in encodings.stream(own, bad):
        window.append((key, encoded))
        held += size(encoded)
        if tokens is not None and held >= WINDOW_BYTES:
            yield from _cut(window, tokens, frozen)
            window, held = [], 0
    yield from _cut(window, tokens, frozen)


def _cut(
    window: list[tuple[str, Encoded]], tokens: int | None, frozen: bool
) -> Iterator[list[tuple[str, Encoded]]]:
    chunk: list[tuple[str, Encoded]] = []
    used = 0
    for key, encoded in _ordered(window):
        if tokens is not None and chunk and used + graph_tokens(encoded, frozen) > tokens:
            yield chunk
            chunk, used = [], 0
        chunk.append((key, encoded))
        used += graph_tokens(encoded, frozen)
    if chunk:
        yield chunk


def _ordered(window: list[tuple[str, Encoded]]) -> Iterator[tuple[str, Encoded]]:
    """By length; behind an input come those that begin with its visual, which share what they begin with."""
    alike: defaultdict[str, list[tuple[str, Encoded]]] = defaultdict(list)
    for key, encoded in sorted(window, key=lambda one: (one[1].num_tokens, one[0])):
        alike[encoded.visuals[0].key if encoded.visuals else key].append((key, encoded))
    for group in alike.values():
        yield from group


def _by_dataset(datasets: tuple[str, ...], each_B: Tensor) -> dict[str, float]:
    """The mean loss of each dataset's queries, unweighted."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for name, value in zip(datasets, each_B.tolist(), strict=False):
        found[name].append(value)
    return {name: sum(values) / len(values) for name, values in sorted(found.items())}
