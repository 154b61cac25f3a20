"""What every file in the folder has to have."""

import inspect
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from vlm2vec_cli import plugins
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.losses import Loss

HERE = Path(__file__).parent
NAMES = [name.replace("-", "_") for name in plugins.names("losses")]


def test_the_losses_of_the_help_are_there() -> None:
    assert {"info_nce", "symmetric_info_nce"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_file_is_complete(name: str) -> None:
    module = plugins.load("losses", name)
    expected = inspect.signature(Loss.__call__).parameters
    found = inspect.signature(module.loss).parameters
    shared = [one for one in expected if one != "self"]
    assert list(found)[: len(shared)] == shared
    assert all(found[one].kind == expected[one].kind for one in shared)
    for more in list(found)[len(shared) :]:
        assert found[more].kind is inspect.Parameter.KEYWORD_ONLY
        assert isinstance(found[more].default, float), "--loss-option gives numbers"
    assert "Source:" in (module.__doc__ or "")
    assert "nats" in (module.loss.__doc__ or "")
    assert (HERE / f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_is_one_number_a_query_and_falls_along_its_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    query, target = (torch.randn(rows, 8, generator=generator, requires_grad=True) for rows in (4, 9))
    allowed = torch.rand(4, 9, generator=generator) > 0.3
    positive = torch.tensor([0, 2, 4, 6])
    allowed[torch.arange(4), positive] = True

    def value() -> torch.Tensor:
        losses: torch.Tensor = plugins.load("losses", name).loss(
            functional.normalize(query, dim=-1),
            functional.normalize(target, dim=-1),
            positive_B=positive,
            allowed_BN=allowed,
            temperature=0.1,
        )
        assert losses.shape == (4,)
        assert (losses >= 0).all()
        return losses.mean()

    loss = value()
    loss.backward()
    before = float(loss.detach())
    assert query.grad is not None
    assert target.grad is not None
    with torch.no_grad():
        query -= 0.05 * query.grad
        target -= 0.05 * target.grad
        assert float(value()) < before


@pytest.mark.parametrize("name", NAMES)
def test_a_query_alone_with_its_positive_has_no_loss(name: str) -> None:
    one = functional.normalize(torch.ones(1, 3), dim=-1)
    losses = plugins.load("losses", name).loss(
        one,
        one,
        positive_B=torch.tensor([0]),
        allowed_BN=torch.ones(1, 1, dtype=torch.bool),
        temperature=0.02,
    )
    assert losses.tolist() == [0]


def test_an_unknown_loss_names_the_nearest() -> None:
    with pytest.raises(UsageError) as raised:
        plugins.load("losses", "info_nec")
    assert raised.value.fact == "unknown loss 'info_nec'"
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("did you mean 'info-nce'")
