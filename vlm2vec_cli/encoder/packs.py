"""Distinct inputs of a window as packs: in an order in which equal beginnings meet, within a token budget."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator, Sequence
from itertools import chain

from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.engine import packing, tree


def key(one: Encoded) -> bytes:
    """Equal for inputs that look alike to the model, pixels included."""
    digest = hashlib.blake2b(one.ids.tobytes(), digest_size=16)
    for visual in one.visuals:
        digest.update(visual.key.encode())
    return digest.digest()


def cost(one: Encoded) -> int:
    """Tokens of the decoder plus 2 x 2 patch groups of the vision tower."""
    return one.num_tokens + one.num_patches // 4


def added(one: Encoded, seen: set[str]) -> int:
    """The cost of an input beside inputs whose visuals are `seen`, to which its own are added."""
    new = sum(visual.num_tokens for visual in one.visuals if visual.key not in seen)
    seen.update(visual.key for visual in one.visuals)
    return one.num_tokens - len(one.slots) + 2 * new


def packs(inputs: Sequence[Encoded], tokens: int) -> Iterator[list[int]]:
    """Positions of `inputs`, each once: packs that cost at most `tokens`, or hold one input.

    What an input shares with the one before it costs nothing, nor does a picture that the pack already holds.
    """
    return (pack for pack, _ in _costed(inputs, tokens))


def together(inputs: Sequence[Encoded]) -> int:
    """The cost of `inputs` as one pack."""
    return sum(used for _, used in _costed(inputs, sys.maxsize))


def _costed(inputs: Sequence[Encoded], tokens: int) -> Iterator[tuple[list[int], int]]:
    if not inputs:
        return
    sequences = packing.sequences(inputs)
    order = sorted(range(len(inputs)), key=lambda number: sequences[number].tobytes())
    pack: list[int] = []
    seen: set[str] = set()
    used = 0
    for number in order:
        one = inputs[number]
        more = one.num_tokens - (tree.common(sequences[pack[-1]], sequences[number]) if pack else 0)
        more += sum(len(visual.patches) for visual in one.visuals if visual.key not in seen) // 4
        if pack and used + more > tokens:
            yield pack, used
            pack, seen, used, more = [], set(), 0, cost(one)
        pack.append(number)
        seen.update(visual.key for visual in one.visuals)
        used += more
    yield pack, used


def once(
    backbone: Backbone, planned: Sequence[Sequence[Encoded]]
) -> contextlib.AbstractContextManager[object]:
    """Where two packs need one picture, its features are kept between them."""
    pictures = [{visual.key for one in pack for visual in one.visuals} for pack in planned]
    shared = sum(map(len, pictures)) > len(set(chain.from_iterable(pictures)))
    return backbone.seeing_once() if shared else contextlib.nullcontext()
