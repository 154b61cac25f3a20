"""Closed forms of InfoNCE and equality with a plain loop."""

import math

import pytest
import torch
from torch.nn import functional

from vlm2vec_cli.losses.info_nce import loss


def test_equal_vectors_give_the_log_of_the_targets() -> None:
    same = functional.normalize(torch.ones(4, 3), dim=-1)
    targets = functional.normalize(torch.ones(7, 3), dim=-1)
    losses = loss(
        same, targets, positive_B=torch.arange(4), allowed_BN=torch.ones(4, 7, dtype=bool), temperature=0.02
    )
    assert losses.tolist() == pytest.approx([math.log(7)] * 4)


def test_a_masked_target_does_not_count() -> None:
    same = functional.normalize(torch.ones(2, 3), dim=-1)
    targets = functional.normalize(torch.ones(5, 3), dim=-1)
    allowed = torch.tensor([[True, False, True, True, True], [True, True, True, True, True]])
    losses = loss(same, targets, positive_B=torch.tensor([0, 1]), allowed_BN=allowed, temperature=1.0)
    assert losses.tolist() == pytest.approx([math.log(4), math.log(5)])


def test_it_is_the_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    query = functional.normalize(torch.randn(5, 8, generator=generator), dim=-1)
    target = functional.normalize(torch.randn(9, 8, generator=generator), dim=-1)
    positive = torch.tensor([0, 2, 4, 6, 8])
    allowed = torch.rand(5, 9, generator=generator) > 0.3
    allowed[torch.arange(5), positive] = True
    losses = loss(query, target, positive_B=positive, allowed_BN=allowed, temperature=0.1)
    for row in range(5):
        shares = [
            math.exp(float(query[row] @ target[column]) / 0.1) for column in range(9) if allowed[row, column]
        ]
        own = math.exp(float(query[row] @ target[positive[row]]) / 0.1)
        assert float(losses[row]) == pytest.approx(-math.log(own / sum(shares)), rel=1e-5)
