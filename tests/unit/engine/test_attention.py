"""Packed attention equals plain attention over each segment and its ancestors, batched and in one call."""

import inspect
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from vlm2vec_cli.engine import attention, kernels
from vlm2vec_cli.engine.attention import packed_attention


def plain(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """(rows, heads, d) of one sequence; queries are the last of the keys."""
    q, k, v = (one.transpose(0, 1) for one in (query, key, value))
    mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool)
    if causal:
        mask = mask.tril(k.shape[1] - q.shape[1])
    out = functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, enable_gqa=True)
    return out[0].transpose(0, 1)


def kernel(
    q: Tensor, k: Tensor, v: Tensor, ends_q: Tensor, ends_k: Tensor, max_q: int, max_k: int, causal: bool,
    scale: float | None,
) -> Tensor:  # fmt: skip
    """What a variable-length kernel computes, segment by segment."""
    parts = []
    for number in range(len(ends_q) - 1):
        inside, over = (slice(ends[number], ends[number + 1]) for ends in (ends_q, ends_k))
        assert inside.stop - inside.start <= max_q
        assert over.stop - over.start <= max_k
        parts.append(plain(q[inside], k[over], v[over], causal))
    return torch.cat(parts)


@pytest.fixture(params=["batches", "batches on two threads", "one call"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ways of computing it; the kernel of the last is a stand-in where there is no GPU."""
    threads = 2 if request.param == "batches on two threads" else 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = kernel if request.param == "one call" else None
    monkeypatch.setattr(attention.kernels, "find", lambda *_: found)


@st.composite
def forests(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=9))
    return lengths, [draw(st.integers(-1, number - 1)) for number in range(len(lengths))]


def random_stream(total: int, kv_heads: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(total)
    return [torch.randn(1, heads, total, 8, generator=generator) for heads in (4, kv_heads, kv_heads)]


def expected(rows: list[Tensor], lengths: list[int], parents: list[int], causal: bool) -> Tensor:
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    parts = []
    for number, length in enumerate(lengths):
        own = list(range(starts[number], starts[number] + length))
        keys, over = own, parents[number]
        while over >= 0:
            keys = [*range(starts[over], starts[over] + lengths[over]), *keys]
            over = parents[over]
        query, key, value = (one[0].transpose(0, 1) for one in rows)
        parts.append(plain(query[own], key[keys], value[keys], causal))
    return torch.cat(parts)[None]


@pytest.mark.usefixtures("way")
@given(forests(), st.sampled_from([1, 2, 4]))
def test_a_segment_sees_its_ancestors_and_itself(forest: tuple[list[int], list[int]], kv_heads: int) -> None:
    lengths, parents = forest
    rows = random_stream(sum(lengths), kv_heads)
    out, _ = packed_attention(
        nn.Identity(), *rows, segment_lengths=tuple(lengths), segment_parents=tuple(parents)
    )
    assert torch.allclose(out, expected(rows, lengths, parents, True), atol=1e-6)


@pytest.mark.usefixtures("way")
@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.booleans(), st.sampled_from([1, 2, 4]))
def test_segments_do_not_see_each_other(lengths: list[int], causal: bool, kv_heads: int) -> None:
    rows = random_stream(sum(lengths), kv_heads)
    out, _ = packed_attention(nn.Identity(), *rows, segment_lengths=tuple(lengths), is_causal=causal)
    assert torch.allclose(out, expected(rows, lengths, [-1] * len(lengths), causal), atol=1e-6)


@pytest.mark.usefixtures("way")
def test_gradients_pass_through_padding_and_ancestors() -> None:
    lengths, parents = [5, 4, 4, 1, 3, 3], [-1, -1, -1, -1, 0, 4]
    rows = [one.requires_grad_() for one in random_stream(20, 2)]
    gradients = []
    for out in (
        packed_attention(
            nn.Identity(), *rows, segment_lengths=tuple(lengths), segment_parents=tuple(parents)
        )[0],
        expected(rows, lengths, parents, True),
    ):
        gradients.append(torch.autograd.grad(out.square().sum(), rows))
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.usefixtures("way")
def test_what_embedding_left_behind_can_be_trained_with() -> None:
    rows = [one.requires_grad_() for one in random_stream(9, 2)]
    plan = {"segment_lengths": (5, 4), "segment_parents": (-1, 0)}
    with torch.inference_mode():
        packed_attention(nn.Identity(), *rows, **plan)
    packed_attention(nn.Identity(), *rows, **plan)[0].sum().backward()
    assert all(one.grad is not None for one in rows)


def test_a_kernel_has_to_be_right_to_be_used() -> None:
    def top_left(*given: object) -> Tensor:
        q, k, v, ends_q, ends_k, *_ = given
        parts = []
        for number in range(2):
            inside, over = (slice(ends[number], ends[number + 1]) for ends in (ends_q, ends_k))
            one = (each.transpose(0, 1)[None] for each in (q[inside], k[over], v[over]))
            out = functional.scaled_dot_product_attention(*one, is_causal=True, enable_gqa=True)
            parts.append(out[0].transpose(0, 1))
        return torch.cat(parts)

    cpu = torch.device("cpu")

    def blind(*given: Any) -> Tensor:
        with torch.no_grad():
            out = kernel(*given)
        return out + (given[0] - given[0].detach())

    for gradient in (False, True):
        assert kernels.right(kernel, cpu, torch.bfloat16, 8, gradient)
        assert not kernels.right(top_left, cpu, torch.bfloat16, 8, gradient)
        assert kernels.find(cpu, torch.bfloat16, 64, gradient) is None
    assert kernels.right(blind, cpu, torch.bfloat16, 8, False)
    with pytest.raises(RuntimeError, match="to not have been used"):
        kernels.right(blind, cpu, torch.bfloat16, 8, True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("head_dim", [64, 80, 128])
def test_kernels_of_this_gpu(head_dim: int) -> None:
    device = torch.device("cuda")
    assert kernels.find(device, torch.bfloat16, head_dim, False) is not None
    lengths, parents = (40, 7, 9, 1, 300), (-1, 0, 1, 0, -1)
    rows = [
        torch.randn(1, heads, sum(lengths), head_dim, device=device, dtype=torch.bfloat16)
        for heads in (8, 2, 2)
    ]
    out, _ = packed_attention(nn.Identity(), *rows, segment_lengths=lengths, segment_parents=parents)
    reference = expected([one.float().cpu() for one in rows], [*lengths], [*parents], True)
    assert torch.allclose(out.float().cpu(), reference, atol=2e-2)


def test_pytorchs_kernel_is_called_as_it_wants_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: a kernel of the same signature stands in for it."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    signature = inspect.signature(varlen.varlen_attn)
    splits = []

    def stands_in(*args: Any, **more: Any) -> torch.Tensor:
        given = signature.bind(*args, **more)
        given.apply_defaults()
        assert given.arguments["enable_gqa"]
        splits.append(given.arguments.get("num_splits"))
        causal = given.arguments["window_size"] == (-1, 0)
        return kernels._plainly(*args, causal, given.arguments["scale"])

    monkeypatch.setattr(stands_in, "__signature__", signature, raising=False)
    monkeypatch.setattr(varlen, "varlen_attn", stands_in)
    for kernel in kernels._installed():
        if kernel.__name__ == "pytorch":
            assert kernels.right(kernel, torch.device("cpu"), torch.bfloat16, 8, False)
    assert splits == ([1, None] if "num_splits" in signature.parameters else [None])


@pytest.mark.parametrize("threads", [1, 2])
def test_in_training_a_pass_without_a_graph_gives_the_bits_of_one_with(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GradCache takes the loss from the first and the gradients from the second."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    stream = [one.requires_grad_() for one in random_stream(90, 2)]
    module, lengths = nn.Module().train(), (30, 25, 35)
    kept, _ = packed_attention(module, *stream, segment_lengths=lengths)
    with torch.no_grad():
        other, _ = packed_attention(module, *stream, segment_lengths=lengths)
    assert kept.requires_grad
    assert torch.equal(kept, other)
