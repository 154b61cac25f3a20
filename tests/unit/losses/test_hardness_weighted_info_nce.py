"""The hardness-weighted loss: closed forms, and what the weights do."""

import math

import pytest
import torch
from torch.nn import functional

from vlm2vec_cli.losses import hardness_weighted_info_nce, info_nce
from vlm2vec_cli.losses.hardness_weighted_info_nce import loss


def unit(rows: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_equal_vectors_give_the_log_of_the_weights() -> None:
    same = functional.normalize(torch.ones(4, 3), dim=-1)
    targets = functional.normalize(torch.ones(7, 3), dim=-1)
    facts = {"positive_B": torch.arange(4), "allowed_BN": torch.ones(4, 7, dtype=torch.bool)}
    for alpha in (0.0, 0.5, 9.0):
        losses = loss(same, targets, **facts, temperature=0.02, alpha=alpha)
        assert losses.tolist() == pytest.approx([math.log1p(6 * math.exp(alpha))] * 4, rel=1e-5)


def test_it_is_the_plain_loop() -> None:
    query, target = unit(3, 0), unit(6, 1)
    positive = torch.tensor([0, 2, 4])
    allowed = torch.ones(3, 6, dtype=torch.bool)
    allowed[0, 5] = False
    losses = loss(query, target, positive_B=positive, allowed_BN=allowed, temperature=0.1)
    for row in range(3):
        scores = [float(query[row] @ target[column]) for column in range(6)]
        own = math.exp(scores[positive[row]] / 0.1)
        others = sum(
            math.exp(9 * score) * math.exp(score / 0.1)
            for column, score in enumerate(scores)
            if allowed[row, column] and column != positive[row]
        )
        assert float(losses[row]) == pytest.approx(-math.log(own / (own + others)), rel=1e-4)


def test_without_weights_it_is_info_nce_and_none_carries_a_gradient() -> None:
    query, target = unit(4, 2).requires_grad_(), unit(4, 3)
    facts = {
        "positive_B": torch.arange(4),
        "allowed_BN": torch.ones(4, 4, dtype=torch.bool),
        "temperature": 0.1,
    }
    plain = info_nce.loss(query, target, **facts)
    assert torch.allclose(loss(query, target, **facts, alpha=0.0), plain)
    # The gradient is that of a softmax with the weights held still.
    (ours,) = torch.autograd.grad(loss(query, target, **facts).sum(), query)
    with torch.no_grad():
        scores = query @ target.T
        weights = (9 * scores).fill_diagonal_(0)
        shares = (scores / 0.1 + weights).softmax(1) - torch.eye(4)
        expected = shares @ target / 0.1
    assert torch.allclose(ours, expected, atol=1e-4)


def test_the_published_strength_is_the_default() -> None:
    assert hardness_weighted_info_nce.loss.__kwdefaults__["alpha"] == 9.0
