"""The symmetric loss: closed form, and what happens when queries and targets change places."""

import math

import pytest
import torch
from torch.nn import functional

from vlm2vec_cli.losses.symmetric_info_nce import loss


def test_equal_vectors_give_the_mean_of_both_logs() -> None:
    query = functional.normalize(torch.ones(3, 2), dim=-1)
    target = functional.normalize(torch.ones(6, 2), dim=-1)
    allowed = torch.ones(3, 6, dtype=torch.bool)
    losses = loss(query, target, positive_B=torch.tensor([0, 2, 4]), allowed_BN=allowed, temperature=0.05)
    assert losses.tolist() == pytest.approx([(math.log(6) + math.log(3)) / 2] * 3)


def test_without_hard_negatives_the_sides_may_change_places() -> None:
    generator = torch.Generator().manual_seed(1)
    query, target = (functional.normalize(torch.randn(4, 5, generator=generator), dim=-1) for _ in range(2))
    facts = {
        "positive_B": torch.arange(4),
        "allowed_BN": torch.ones(4, 4, dtype=torch.bool),
        "temperature": 0.1,
    }
    assert loss(query, target, **facts).sum() == pytest.approx(
        float(loss(target, query, **facts).sum()), rel=1e-5
    )
