"""Packed attention equals attention over each segment alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from vlm2vec_cli.engine.attention import packed_attention


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.booleans(), st.sampled_from([1, 2, 4]))
def test_segments_do_not_see_each_other(lengths: list[int], causal: bool, num_kv_heads: int) -> None:
    generator = torch.Generator().manual_seed(sum(lengths))
    shape = (sum(lengths), 8)
    query = torch.randn(1, 4, *shape, generator=generator)
    key, value = (torch.randn(1, num_kv_heads, *shape, generator=generator) for _ in range(2))
    out, _ = packed_attention(
        nn.Identity(), query, key, value, segment_lengths=tuple(lengths), is_causal=causal
    )
    at = 0
    for length in lengths:
        part = [tensor[:, :, at : at + length] for tensor in (query, key, value)]
        alone = functional.scaled_dot_product_attention(
            *part, is_causal=causal and length > 1, enable_gqa=True
        )
        assert torch.allclose(out[:, at : at + length], alone.transpose(1, 2), atol=1e-6)
        at += length


def test_gradients_pass_through_padding_untouched() -> None:
    lengths = (5, 4, 4, 1)
    query, key, value = (torch.randn(1, 2, 14, 8, requires_grad=True) for _ in range(3))
    packed_attention(nn.Identity(), query, key, value, segment_lengths=lengths)[0].square().sum().backward()
    packed = [tensor.grad.clone() for tensor in (query, key, value)]
    for tensor in (query, key, value):
        tensor.grad = None
    at = 0
    for length in lengths:
        part = [tensor[:, :, at : at + length] for tensor in (query, key, value)]
        functional.scaled_dot_product_attention(*part, is_causal=length > 1).square().sum().backward()
        at += length
    for tensor, grad in zip((query, key, value), packed, strict=True):
        assert torch.allclose(tensor.grad, grad, atol=1e-6)


def test_what_embedding_left_behind_can_be_trained_with() -> None:
    tensors = [torch.randn(1, 2, 9, 8, requires_grad=True) for _ in range(3)]
    with torch.inference_mode():
        packed_attention(nn.Identity(), *tensors, segment_lengths=(5, 4))
    packed_attention(nn.Identity(), *tensors, segment_lengths=(5, 4))[0].sum().backward()
    assert all(tensor.grad is not None for tensor in tensors)
