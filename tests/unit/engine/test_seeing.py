"""Each distinct picture passes the tower once, as far as the budget goes; features beyond it are the same."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from vlm2vec_cli.engine.pixels import Visual
from vlm2vec_cli.engine.seeing import Seeing

VISUALS = [Visual(np.full((16, 2), number, np.uint8), (1, 4, 4), str(number)) for number in range(6)]
BYTES = 4 * 3 * 4  # tokens, features, float32
CPU = torch.device("cpu")


def seeing(seen: list[str], budget: int) -> Seeing:
    def look(visuals: Sequence[Visual]) -> torch.Tensor:
        seen.extend(visual.key for visual in visuals)
        return torch.cat([torch.full((visual.num_tokens, 3), float(visual.key)) for visual in visuals])

    return Seeing(look, budget=budget)


@pytest.mark.parametrize(("fit", "again"), [(6, []), (4, ["4", "5"]), (0, list("012345"))])
def test_what_is_beyond_the_budget_is_computed_again(fit: int, again: list[str]) -> None:
    seen: list[str] = []
    see = seeing(seen, fit * BYTES)
    with see.once(torch.nn.Identity()):
        first = [see(VISUALS[at : at + 2], CPU) for at in (0, 2, 4)]
        assert seen == list("012345")
        second = [see(VISUALS[at : at + 2], CPU) for at in (0, 2, 4)]
    assert seen[6:] == again
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    see(VISUALS[:1], CPU)
    assert seen[-1] == "0", "nothing is kept behind the block"
    with see.once(torch.nn.Identity()):
        see(VISUALS[:1], CPU)
        before = len(seen)
        see([VISUALS[0], VISUALS[0]], CPU)
    assert len(seen) == before + (fit == 0), "each block has the whole budget"


def test_a_tower_that_is_trained_is_asked_every_time() -> None:
    seen: list[str] = []
    see = seeing(seen, 1 << 20)
    with see.once(torch.nn.Linear(1, 1)):
        for _ in range(2):
            see(VISUALS[:2], CPU)
    assert seen == ["0", "1"] * 2


def test_features_that_wait_lie_together() -> None:
    """Each in a block of its own would keep the allocator from using what lies between them."""
    see = seeing([], 1 << 20)
    with see.once(torch.nn.Identity()) as frozen:
        see(VISUALS, CPU)
        again = see(VISUALS[::-1], CPU)
        assert frozen
        assert see._kept is not None
        assert len({one.untyped_storage().data_ptr() for one in see._kept.values()}) == 1
    assert again[:, 0].tolist() == [float(at) for at in (5, 4, 3, 2, 1, 0) for _ in range(4)]
    with see.once(torch.nn.Linear(1, 1)) as frozen:
        assert not frozen
