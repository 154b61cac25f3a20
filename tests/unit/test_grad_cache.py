"""Chunks give the gradients of the whole batch, dropout included."""

import pytest
import torch
from torch import nn

from vlm2vec_cli import grad_cache


def gradients(sizes: list[int], dropout: float) -> tuple[float, list[torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 4)).double()
    rows = torch.randn(12, 6, dtype=torch.double)
    torch.manual_seed(1)
    value = grad_cache.backward(rows.split(sizes), model, lambda out: (out @ out.T / 3).logsumexp(1).mean())
    return float(value), [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("sizes", [[1] * 12, [4, 4, 4], [5, 5, 2], [11, 1]])
def test_any_chunking_is_the_whole_batch(sizes: list[int]) -> None:
    value, expected = gradients([12], 0.0)
    chunked, got = gradients(sizes, 0.0)
    assert chunked == pytest.approx(value, rel=1e-12)
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_both_passes_draw_the_same_dropout() -> None:
    """The surrogate's gradient is the loss's only when the second pass repeats the first."""
    torch.manual_seed(0)
    layer, drop = nn.Linear(6, 4).double(), nn.Dropout(0.5)
    seen: list[torch.Tensor] = []

    def encode(chunk: torch.Tensor) -> torch.Tensor:
        out = drop(layer(chunk))
        seen.append(out.detach())
        return out

    grad_cache.backward(
        torch.randn(8, 6, dtype=torch.double).split(4), encode, lambda out: out.square().mean()
    )
    assert (seen[0] == 0).any(), "dropout must be active for this test to mean anything"
    assert len(seen) == 3, "the last chunk has its graph already"
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


def test_the_generator_goes_on_as_after_the_first_pass() -> None:
    def after(sizes: list[int]) -> float:
        gradients(sizes, 0.5)
        return float(torch.rand(()))

    torch.manual_seed(3)
    assert after([4, 4, 4]) == after([4, 4, 4])
