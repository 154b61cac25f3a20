"""Options that no run can have are refused before anything is read."""

import inspect
import json
import math
import re
from typing import Any

import pytest

from vlm2vec_cli.commands import embed, train
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.training import given, run
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.presets import PRESETS


@pytest.mark.parametrize(
    ("name", "published"),
    [
        (
            "vlm2vec-v2",  # the released script: 8 processes of 128 pairs, interleaved blocks of 64
            {
                **{"batch_size": 8 * 128, "homogeneous": "64", "temperature": 0.02, "learning_rate": 5e-5},
                **{"schedule": "linear", "warmup_steps": 100, "max_steps": 5000, "lora_r": 16},
                **{"lora_alpha": 64, "lora_dropout": 0.1, "dora": True, "lora_targets": "vlm2vec-v2"},
                **{
                    "weight_decay": 0,
                    "max_grad_norm": 1.0,
                    "adam_beta1": 0.9,
                    "adam_beta2": 0.999,
                    "seed": 42,
                },
            },
        ),
        (
            "vlm2vec-v1",  # its README, and the released adapter's rank
            {
                **{"batch_size": 8 * 128, "temperature": 0.02, "learning_rate": 2e-5, "schedule": "linear"},
                **{"warmup_steps": 200, "max_steps": 2000, "rows_per_dataset": 100_000, "max_length": 4096},
                **{"lora_r": 8, "weight_decay": 0, "max_grad_norm": 1.0, "seed": 42},
            },
        ),
        ("sgg", {"schedule": "cosine", "warmup_steps": 0.1, "max_grad_norm": 1.0, "seed": 42}),
    ],
)
def test_presets_are_the_published_runs(name: str, published: dict[str, Any]) -> None:
    defaults = {key: one.default for key, one in inspect.signature(train.main).parameters.items()}
    made = {**defaults, **{key.replace("-", "_"): value for key, value in PRESETS[name].items()}}
    assert {key: made[key] for key in published} == published


@pytest.mark.parametrize(
    ("values", "fact"),
    [
        ({"batch_size": 0}, "--batch-size must be at least 1"),
        ({"chunk_tokens": 0}, "--chunk-tokens must be at least 1"),
        ({"lora_r": 0}, "--lora-r must be at least 1"),
        ({"homogeneous": -1}, "--homogeneous must be at least 0"),
        ({"warmup_steps": -1}, "--warmup-steps must be at least 0"),
        ({"save_steps": -1}, "--save-steps must be at least 0"),
        ({"weight_decay": -0.1}, "--weight-decay must be at least 0"),
        ({"max_grad_norm": math.nan}, "--max-grad-norm must be at least 0"),
        ({"temperature": 0}, "--temperature must be above 0"),
        ({"learning_rate": math.nan}, "--learning-rate must be above 0"),
        ({"epochs": 0}, "--epochs must be above 0"),
        ({"schedule": "step"}, "unknown schedule 'step'"),
        ({"lora_dropout": 1}, "--lora-dropout must be at least 0 and below 1"),
        ({"batch_size": 8, "homogeneous": 3}, "--homogeneous must divide --batch-size"),
        ({"max_steps": -1}, "--max-steps must be at least 0"),
    ],
)
def test_what_no_run_can_have(values: dict[str, Any], fact: str) -> None:
    with pytest.raises(UsageError) as raised:
        TrainOptions(**values)
    assert raised.value.fact == fact


def test_the_defaults_are_recorded_as_json() -> None:
    recorded = json.loads(json.dumps(TrainOptions().recorded()))
    assert recorded["temperature"] == 0.02
    assert set(recorded) == set(TrainOptions.names())


@pytest.mark.parametrize("command", [embed, train], ids=["embed", "train"])
def test_every_option_of_the_command_is_used(command: Any) -> None:
    used = inspect.getsource(command.main).rpartition('"""')[2]
    if command is train:
        used += inspect.getsource(run) + inspect.getsource(given) + " ".join(TrainOptions.names())
    for name in inspect.signature(command.main).parameters:
        if name in ("preset", "config"):  # turned into the other options by their callbacks
            continue
        assert name == "verbose" or re.search(rf"\b{name}\b", used), name
