"""Loss and gradients are the reference's, whole and in chunks."""

import contextlib

import pytest
import torch

import golden
from vlm2vec_cli.backbones.qwen2_vl import Qwen2VL
from vlm2vec_cli.training.encodings import Encodings
from vlm2vec_cli.training.examples import Side
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.pairs import Batch
from vlm2vec_cli.training.step import _chunks, backward

PLAIN = TrainOptions()
FACTS = golden.facts()["train_b"]


def side(name: str, place: int) -> Side:
    """Every place its own key: the reference encodes equal inputs again."""
    return Side(golden.content(name), f"{name}{place}", golden.ROOT, "golden")


def batch() -> Batch:
    pairs = FACTS["pairs"]
    number = len(pairs)
    return Batch(
        tuple(side(query, place) for place, (query, _) in enumerate(pairs)),
        tuple(side(target, number + place) for place, (_, target) in enumerate(pairs)),
        torch.arange(number),
        torch.ones(number, number, dtype=torch.bool),
        torch.ones(number),
    )


def loss_of(
    made: Batch,
    backbone: Qwen2VL,
    encodings: Encodings,
    options: TrainOptions = PLAIN,
    chunk_tokens: int | None = 16384,
) -> float:
    exact = contextlib.nullcontext
    objective = Objective(options)
    return backward(made, backbone, encodings, objective, chunk_tokens=chunk_tokens, autocast=exact).loss


@pytest.mark.parametrize("chunk_tokens", [1, 300, 100_000])
def test_loss_and_gradients_are_the_references(chunk_tokens: int) -> None:
    backbone = golden.fresh()
    encodings = Encodings(backbone, golden.media(), workers=1, budget=1 << 28)
    value = loss_of(batch(), backbone, encodings, chunk_tokens=chunk_tokens)
    assert value == pytest.approx(FACTS["full"]["loss"], rel=1e-5)
    parameters = dict(backbone.model.named_parameters())
    for name, norm in FACTS["full"]["grad_norms"].items():
        ours = name.replace("model.", "language_model.", 1) if name.startswith("model.") else name
        assert float(parameters[ours].grad.norm()) == pytest.approx(norm, rel=1e-4), name


@pytest.mark.parametrize("temperature", sorted(FACTS["loss_by_temperature"]))
def test_loss_at_other_temperatures(temperature: str) -> None:
    backbone = golden.fresh()
    encodings = Encodings(backbone, golden.media(), workers=1, budget=1 << 28)
    value = loss_of(batch(), backbone, encodings, TrainOptions(temperature=float(temperature)))
    assert value == pytest.approx(FACTS["loss_by_temperature"][temperature], rel=1e-5)


def test_inputs_that_begin_with_one_picture_share_a_chunk() -> None:
    """The shortest of them says where; others, and those without pictures, come by length."""
    questions = ["a", "the word", "what can be seen in this picture", "what is it", "why"]
    contents = [
        {"image": f"images/v5_224x224_f{at % 2}.png", "text": one} for at, one in enumerate(questions)
    ]
    contents += [{"text": one * 20} for one in ("x ", "y z ")]
    sides = {str(at): Side(one, str(at), golden.ROOT, "golden") for at, one in enumerate(contents)}
    encodings = Encodings(golden.backbone(), golden.media(), workers=1, budget=1 << 28)
    (whole,) = _chunks(sides, encodings, None, False, {})
    order = [int(key) for key, _ in whole]
    lengths = [encoded.num_tokens for _, encoded in whole]
    assert order == [5, 6, *sorted([0, 2, 4], key=lambda at: len(questions[at])), 1, 3]
    assert lengths != sorted(lengths)
    assert [key for key, _ in whole] == [
        key for chunk in _chunks(sides, encodings, 60, False, {}) for key, _ in chunk
    ]
    plain = {key: one for key, one in sides.items() if key in "056"}
    (whole,) = _chunks(plain, encodings, None, False, {})
    assert [encoded.num_tokens for _, encoded in whole] == sorted(one.num_tokens for _, one in whole)


def test_equal_contents_are_encoded_once_and_get_the_gradient_of_all_their_places() -> None:
    backbone = golden.fresh()
    encodings = Encodings(backbone, golden.media(), workers=1, budget=1 << 28)

    def shared(name: str) -> Side:
        return Side(golden.content(name), name, golden.ROOT, "golden")

    apart = batch()
    together = Batch(
        tuple(shared(query) for query, _ in FACTS["pairs"]),
        tuple(shared(target) for _, target in FACTS["pairs"]),
        apart.positive_B,
        apart.allowed_BN,
        apart.weight_B,
    )
    value = loss_of(together, backbone, encodings)
    assert value == pytest.approx(FACTS["full"]["loss"], rel=1e-5)
    norms = [
        float(parameter.grad.norm())
        for parameter in backbone.model.parameters()
        if parameter.grad is not None
    ]
    assert sum(norm**2 for norm in norms) ** 0.5 == pytest.approx(FACTS["full"]["grad_norm_total"], rel=1e-4)


def test_chunks_count_what_stays_in_the_graph() -> None:
    """Where the tower is frozen a picture weighs its tokens, else its patches too."""
    content = {"image": "images/v5_224x224_f0.png", "text": "a"}
    sides = {str(at): Side(content, str(at), golden.ROOT, "golden") for at in range(6)}
    encodings = Encodings(golden.backbone(), golden.media(), workers=1, budget=1 << 28)
    ((_, one), *_) = next(_chunks(sides, encodings, 1, True, {}))
    tokens = 3 * one.num_tokens
    assert [len(chunk) for chunk in _chunks(sides, encodings, tokens, True, {})] == [3, 3]
    both = one.num_tokens + one.num_patches // 4
    assert {len(chunk) for chunk in _chunks(sides, encodings, tokens, False, {})} == {tokens // both}
