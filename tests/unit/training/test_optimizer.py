"""Learning rates, the number of steps, what decays."""

import sys
from dataclasses import replace

import pytest

import golden
from pairs import SMALL, lora
from vlm2vec_cli.errors import UnavailableError
from vlm2vec_cli.training import optimizer
from vlm2vec_cli.training.optimizer import learning_rate, num_steps
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.sampling import Sampler


def test_rates_rise_to_the_given_one_and_fall_to_zero() -> None:
    options = TrainOptions(learning_rate=1.0, warmup_steps=4)
    assert [learning_rate(options, step, 12) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    linear = [learning_rate(options, step, 12) for step in range(4, 12)]
    assert linear == pytest.approx([1 - step / 8 for step in range(8)])
    cosine = replace(options, schedule="cosine")
    assert learning_rate(cosine, 8, 12) == pytest.approx(0.5)
    assert learning_rate(replace(options, schedule="constant"), 11, 12) == 1.0


def test_epochs_are_whole_steps_rounded_up() -> None:
    in_one = Sampler(["a"] * 10, 4, 0).steps_per_epoch
    assert num_steps(TrainOptions(epochs=1), in_one) == 3
    assert num_steps(TrainOptions(epochs=2), in_one) == 5
    assert num_steps(TrainOptions(epochs=0.01), in_one) == 1
    assert num_steps(TrainOptions(epochs=2, max_steps=0), in_one) == 0


def test_the_8_bit_optimizer_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UnavailableError) as raised:
        optimizer.create(golden.fresh().model, TrainOptions(full=True, optimizer="adamw-8bit"))
    assert raised.value.fact == "--optimizer adamw-8bit needs the package bitsandbytes"
    assert raised.value.hint == "pip install bitsandbytes"


def test_matrices_decay_and_vectors_do_not() -> None:
    backbone = golden.fresh()
    made = optimizer.create(backbone.model, TrainOptions(full=True, weight_decay=0.1))
    for group in made.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
    lora(backbone, SMALL)
    adapter_only = optimizer.create(backbone.model, replace(SMALL, full=False, dora=False))
    number = sum(parameter.numel() for group in adapter_only.param_groups for parameter in group["params"])
    assert number < sum(parameter.numel() for parameter in backbone.model.parameters()) / 2
