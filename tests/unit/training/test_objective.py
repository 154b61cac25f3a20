"""What stands around a loss: masks, temperatures, lengths of vectors; closed forms for each."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch


def batch(number: int, targets: int | None = None, datasets: str = "") -> Batch:
    width = targets or number
    return Batch(
        (), (), torch.arange(number), torch.ones(number, width, dtype=torch.bool), torch.ones(number),
        tuple(datasets or "a" * number),
    )  # fmt: skip


def value(states: Tensor, made: Batch, **options: Any) -> tuple[float, list[float]]:
    queries, targets = made.allowed_BN.shape
    rows = torch.arange(queries + targets)
    total, each = Objective(TrainOptions(**options))(states, rows[:queries], rows[queries:], made)
    return float(total.detach()), each.tolist()


def spread(angles: list[float]) -> Tensor:
    return torch.tensor([[math.cos(one), math.sin(one)] for one in angles])


def test_equal_vectors_give_the_log_of_the_targets_at_any_temperature() -> None:
    same = torch.ones(7, 4)
    for more in ({}, {"dataset_temperatures": (("a", 0.5),)}, {"learn_temperature": True}):
        total, each = value(same, batch(3, 4), **more)
        assert total == pytest.approx(math.log(4))
        assert each == pytest.approx([math.log(4)] * 3)


def test_a_dataset_has_its_own_temperature() -> None:
    states = spread([0.0, 1.0, 0.1, 1.2])  # two queries, two targets
    hot, _ = value(states, batch(2, datasets="ab"), temperature=1.0)
    _, mixed = value(states, batch(2, datasets="ab"), temperature=1.0, dataset_temperatures=(("b*", 0.1),))
    _, cold = value(states, batch(2, datasets="ab"), temperature=0.1)
    _, warm = value(states, batch(2, datasets="ab"), temperature=1.0)
    assert mixed == pytest.approx([warm[0], cold[1]])
    assert hot == pytest.approx(sum(warm) / 2)


def test_a_temperature_learns_where_to_go_and_stays_in_bounds() -> None:
    objective = Objective(
        TrainOptions(learn_temperature=True, temperature=0.5, dataset_temperatures=(("b", 0.02),))
    )
    assert objective.temperature.values() == {"*": pytest.approx(0.5), "b": pytest.approx(0.02)}
    rows = torch.arange(4)
    # Queries right beside their positives: the colder, the smaller the loss.
    total, _ = objective(spread([0.0, 1.0, 0.0, 1.0]), rows[:2], rows[2:], batch(2, datasets="aa"))
    total.backward()
    gradient = objective.temperature.log.grad
    assert gradient is not None
    assert gradient[0] > 0
    assert gradient[1] == 0, "no row of b is in the batch"
    with torch.no_grad():
        objective.temperature.log += torch.tensor([9.0, -9.0])
    objective.temperature.bound()
    assert objective.temperature.values() == {"*": pytest.approx(1.0), "b": pytest.approx(0.01)}


def test_a_target_beyond_the_margin_may_answer_as_well() -> None:
    # One query at 0; its positive at 0.5; a target nearer than that, and one farther.
    states = spread([0.0, 0.5, 0.1, 1.0])
    near, far = math.cos(0.1) - math.cos(0.5), math.cos(1.0)
    made = batch(1, 3)
    all_in, _ = value(states, made, temperature=1.0)
    assert value(states, made, temperature=1.0, false_negative_margin=near + 1e-3)[0] == pytest.approx(all_in)
    without, _ = value(states, made, temperature=1.0, false_negative_margin=near - 1e-3)
    assert without == pytest.approx(math.log(1 + math.exp(far - math.cos(0.5))), rel=1e-5)


def test_lengths_weigh_as_told() -> None:
    states = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    made = batch(4)
    one, other = (value(states, made, matryoshka=(dim,))[0] for dim in (16, 4))
    both = value(states, made, matryoshka=(16, 4), matryoshka_weights=(3.0, 1.0))[0]
    assert both == pytest.approx((3 * one + other) / 4, rel=1e-5)
    assert value(states, made, matryoshka=(16, 4))[0] == pytest.approx((one + other) / 2, rel=1e-5)


def test_an_option_of_the_loss_reaches_it() -> None:
    same, made = torch.ones(6, 4), batch(3)
    total, _ = value(same, made, loss="hardness_weighted_info_nce", loss_options=(("alpha", 2.0),))
    assert total == pytest.approx(math.log1p(2 * math.exp(2)), rel=1e-5)
    with pytest.raises(UsageError, match="--loss-option: hardness_weighted_info_nce has no 'beta'") as raised:
        Objective(TrainOptions(loss="hardness_weighted_info_nce", loss_options=(("beta", 2.0),)))
    assert raised.value.hint == "it has alpha"
