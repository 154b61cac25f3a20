"""Any way of computing a step gives the gradients of the whole batch in one graph."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import golden
from pairs import PICTURES, lora, records, texts
from vlm2vec_cli.training.encodings import Encodings
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch, Choice, Pairs
from vlm2vec_cli.training.step import backward

ROWS: list[dict[str, Any]] = [
    {**row, "negatives": [{"text": f"not {at} {one}"} for one in range(at % 3)], "dataset": "ab"[at % 2]}
    for at, row in enumerate([*texts(4), *PICTURES[:2]])
]


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def relative_error(ours: dict[str, Tensor], plain: dict[str, Tensor]) -> float:
    assert ours.keys() == plain.keys()
    apart = sum(float((ours[name] - plain[name]).square().sum()) for name in plain)
    return float((apart / sum(float(one.square().sum()) for one in plain.values())) ** 0.5)


def in_one_graph(batch: Batch, backbone: Any, objective: Objective, chunks: list[list[str]]) -> float:
    """The loss as written: every content of every chunk encoded with its graph, one backward pass.

    The chunks are walked in their order so that dropout draws the same numbers.
    """
    sides = {side.key: side for side in (*batch.queries, *batch.targets)}
    rows, at = [], {}
    for chunk in chunks:
        inputs = [backbone.encode(sides[key].content, sides[key].root, golden.media()) for key in chunk]
        at |= {key: len(at) + number for number, key in enumerate(chunk)}
        rows.append(backbone.forward(inputs))
    queries, targets = (
        torch.tensor([at[one.key] for one in side]) for side in (batch.queries, batch.targets)
    )
    value, _ = objective(torch.cat(rows), queries, targets, batch)
    value.backward()
    return float(value.detach())


class Noting(Encodings):
    """Remembers what was asked for together: the chunks."""

    def __init__(self, backbone: Any) -> None:
        super().__init__(backbone, golden.media(), workers=1, budget=1 << 28)
        self.chunks: list[list[str]] = []

    def get(self, sides: Any) -> Any:
        chunk = [side.key for side in sides]
        if chunk not in self.chunks:
            self.chunks.append(chunk)
        return super().get(sides)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """Every kind of training, made once; nothing changes their weights."""
    options = {
        "full": TrainOptions(full=True),
        "lora": TrainOptions(lora_r=2, dora=False, lora_dropout=0.3),
        "dora": TrainOptions(lora_r=2, dora=True, lora_dropout=0.3),
    }
    made = {}
    for name, one in options.items():
        backbone = golden.fresh()
        if not one.full:
            torch.manual_seed(0)
            for parameter_name, parameter in lora(backbone, one).named_parameters():
                if "lora_B" in parameter_name:
                    torch.nn.init.normal_(parameter, std=0.05)
        backbone.model.train()
        made[name] = backbone
    return made


@settings(max_examples=8)
@given(
    kind=st.sampled_from(["full", "lora", "dora"]),
    chunk_tokens=st.sampled_from([1, 30, 100, 400, None]),
    checkpointing=st.booleans(),
    negatives=st.sampled_from([0, 1, None]),
    matryoshka=st.sampled_from([(), (64, 16), (64, 32, 8)]),
    loss=st.sampled_from(["info_nce", "symmetric_info_nce", "hardness_weighted_info_nce"]),
    learnt=st.booleans(),
)
def test_gradients_are_those_of_the_whole_batch(
    models: dict[str, Any],
    kind: str,
    chunk_tokens: int | None,
    checkpointing: bool,
    negatives: int | None,
    matryoshka: tuple[int, ...],
    loss: str,
    learnt: bool,
) -> None:
    backbone = models[kind]
    with checkpointed(backbone.model, checkpointing):
        options = TrainOptions(matryoshka=matryoshka, loss=loss, learn_temperature=learnt, temperature=0.1)
        batch = Pairs(records(ROWS)).batch(range(len(ROWS)), Choice(num_hard_negatives=negatives))
        objective, noting = Objective(options), Noting(backbone)
        torch.manual_seed(3)
        value = backward(
            batch, backbone, noting, objective, chunk_tokens=chunk_tokens, autocast=contextlib.nullcontext
        ).loss
        ours, temperature = gradients(backbone.model), gradients(objective.temperature)
        noting.close()
        torch.manual_seed(3)
        plain = in_one_graph(batch, backbone, objective, noting.chunks)
    assert value == pytest.approx(plain, rel=1e-5)
    assert relative_error(ours, gradients(backbone.model)) < 1e-5
    if learnt:
        assert relative_error(temperature, gradients(objective.temperature)) < 1e-5


@contextlib.contextmanager
def checkpointed(model: Any, wanted: bool) -> Any:
    if wanted:
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    try:
        yield
    finally:
        if wanted:
            getattr(model, "activation_checkpointing_disable", model.gradient_checkpointing_disable)()


def test_a_window_of_inputs_changes_no_gradient(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs beyond a window are ordered apart, and decoded anew when the cache is too small to keep them."""
    backbone = models["full"]
    batch = Pairs(records(ROWS)).batch(range(len(ROWS)), Choice())
    found = []
    for window, budget in ((1 << 29, 1 << 28), (2000, 1)):
        monkeypatch.setattr("vlm2vec_cli.training.step.WINDOW_BYTES", window)
        encodings = Encodings(backbone, golden.media(), workers=2, budget=budget)
        backward(
            batch, backbone, encodings, Objective(replace(TrainOptions(), temperature=0.1)),
            chunk_tokens=60, autocast=contextlib.nullcontext,
        )  # fmt: skip
        encodings.close()
        found.append(gradients(backbone.model))
    assert relative_error(found[1], found[0]) < 1e-5
