"""A pack is its rows: tokens, positions, pictures and last states, with equal beginnings once."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vlm2vec_cli.engine import packing, tree
from vlm2vec_cli.engine.pixels import Visual

PAD = 99


def visual(key: str, tokens: int) -> Visual:
    return Visual(np.zeros((4 * tokens, 1), np.uint8), (1, 2, 2 * tokens), key)


VISUALS = {"a": visual("a", 6), "b": visual("b", 6), "c": visual("c", 20)}
PART = st.one_of(st.sampled_from(sorted(VISUALS)), st.lists(st.integers(1, 2), min_size=1, max_size=5))


def row(parts: list[Any]) -> Any:
    """A row of texts (lists of ids) and pictures (their keys)."""
    ids, slots, visuals = [], [], []
    for part in parts:
        if isinstance(part, str):
            visuals.append(VISUALS[part])
            slots += range(len(ids), len(ids) + visuals[-1].num_tokens)
            ids += [PAD] * visuals[-1].num_tokens
        else:
            ids += part
    return SimpleNamespace(
        ids=np.array(ids, np.int64), visuals=tuple(visuals), slots=np.array(slots, np.int64)
    )


def looks(ids: np.ndarray, slots: np.ndarray, visuals: tuple[Visual, ...]) -> list[Any]:
    """Tokens, those of pictures as (key, place)."""
    tokens: list[Any] = ids.tolist()
    filled = [(one.key, place) for one in visuals for place in range(one.num_tokens)]
    for slot, token in zip(slots, filled, strict=True):
        tokens[slot] = token
    return tokens


@given(st.lists(st.lists(PART, min_size=1, max_size=4), min_size=1, max_size=8))
def test_every_row_is_found_in_the_pack(parts: list[list[Any]]) -> None:
    rows = [row(one) for one in parts]
    packed = packing.pack(rows)
    tokens = looks(packed.ids, packed.slots, packed.visuals)
    lengths, parents = packed.attention["segment_lengths"], packed.attention["segment_parents"]
    ends = np.cumsum(lengths)
    for one, last in zip(rows, packed.last, strict=True):
        number = int(np.searchsorted(ends, last, side="right"))
        path = list(range(ends[number] - lengths[number], last + 1))
        while (number := parents[number]) >= 0:
            path = [*range(ends[number] - lengths[number], ends[number]), *path]
        assert [tokens[at] for at in path] == looks(one.ids, one.slots, one.visuals)
        assert packed.positions[path].tolist() == list(range(len(one.ids)))


def test_other_pictures_of_one_size_are_not_shared() -> None:
    assert len(packing.pack([row(["c", [1]]), row(["c", [2]])]).ids) == 20 + 2
    assert len(packing.pack([row(["a", [1]]), row(["b", [1]])]).ids) == 14
    assert len(packing.pack([row(["c", "a", [1]]), row(["c", "b", [1]])]).ids) == 20 + 14


def test_a_pack_is_cut_where_rows_part() -> None:
    found = tree.common(*packing.sequences([row([[1, 2], "a", [1]]), row([[1, 2], "a", [2]])]))
    assert found == 8


def test_the_last_mlp_sees_the_rows_that_are_read() -> None:
    seen = []
    mlp = nn.Sequential(nn.Linear(4, 4)).eval()
    mlp[0].register_forward_hook(lambda module, given, out: seen.append(given[0].shape[1]))
    states, last = torch.randn(1, 9, 4), torch.tensor([2, 8, 8])
    whole = mlp(states).detach()
    with torch.no_grad(), packing.reading_only(last, mlp):
        part = mlp(states)
    with packing.reading_only(last, mlp):
        assert torch.equal(mlp(states), whole), "with gradients everything is computed"
    assert torch.equal(mlp(states), whole)
    with torch.no_grad(), packing.reading_only(last, mlp.train()):
        assert torch.equal(mlp(states), whole), "in training, as much dropout is drawn as with gradients"
    assert seen == [9, 3, 9, 9, 9]
    assert torch.allclose(part[:, last], whole[:, last])
    assert part[:, [0, 1, 3]].abs().max() == 0
