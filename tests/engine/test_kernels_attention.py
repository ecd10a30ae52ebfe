# SPDX-License-Identifier: GPL-3.0-or-later
"""Attention is the mean of the values, weighed by how well the keys fit; sequences do not see one another."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here; it is in the environment torch-3.11")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from engine.backends.trellis2.kernels import attention  # noqa: E402
from tests.engine.kernel_volumes import limited, random_tensor  # noqa: E402


def reference(q, k, v, scale=None):
    """Attention of one sequence, (L, H, C), written out in float64."""
    q, k, v = (tensor.double() for tensor in (q, k, v))
    scores = torch.einsum("qhc,khc->hqk", q, k) * (scale or 1 / math.sqrt(q.shape[-1]))
    return torch.einsum("hqk,khc->qhc", torch.softmax(scores, dim=-1), v)


def spans(lengths: list[int]):
    return torch.tensor([0, *lengths]).cumsum(0).int()


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6), st.integers(0, 1 << 20))
def test_each_sequence_sees_only_itself(lengths, seed) -> None:
    of_q, of_k = [pair[0] for pair in lengths], [pair[1] for pair in lengths]
    q = random_tensor(seed, sum(of_q), 2, 6)
    k, v = random_tensor(seed + 1, sum(of_k), 2, 6), random_tensor(seed + 2, sum(of_k), 2, 6)
    ends = (spans(of_q), spans(of_k))
    out = attention.flash_attn_varlen_func(q, k, v, *ends, max(of_q), max(of_k))
    packed = attention.flash_attn_varlen_kvpacked_func(q, torch.stack([k, v], 1), *ends, max(of_q), max(of_k))
    assert torch.equal(packed, out)
    parts = zip(q.split(of_q), k.split(of_k), v.split(of_k), out.split(of_q), strict=True)
    for one_q, one_k, one_v, got in parts:
        torch.testing.assert_close(got, reference(one_q, one_k, one_v), rtol=0, atol=1e-12)


def test_packed_calls_are_the_plain_ones() -> None:
    qkv = random_tensor(1, 2, 7, 3, 2, 8)
    q, k, v = qkv.unbind(2)
    plain = attention.flash_attn_func(q, k, v)
    for item in range(2):
        torch.testing.assert_close(plain[item], reference(q[item], k[item], v[item]), rtol=0, atol=1e-12)
    assert torch.equal(attention.flash_attn_qkvpacked_func(qkv), plain)
    assert torch.equal(attention.flash_attn_kvpacked_func(q, qkv[:, :, 1:]), plain)
    ends = spans([7, 7])
    torch.testing.assert_close(
        attention.flash_attn_varlen_qkvpacked_func(qkv.flatten(0, 1), ends, 7), plain.flatten(0, 1), rtol=0, atol=1e-12
    )


def test_the_scale_may_be_given_and_values_may_be_wider() -> None:
    q, k, v = random_tensor(2, 1, 9, 2, 4), random_tensor(3, 1, 5, 2, 4), random_tensor(4, 1, 5, 2, 10)
    for values in (v, v[..., :4]):
        out = attention.flash_attn_func(q, k, values, softmax_scale=0.3)
        torch.testing.assert_close(out[0], reference(q[0], k[0], values[0], 0.3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("limit", [1, 300, 1 << 20])
def test_queries_in_pieces_give_the_same_numbers(limit, monkeypatch) -> None:
    q, k, v = random_tensor(5, 2, 33, 3, 8), random_tensor(6, 2, 17, 3, 8), random_tensor(7, 2, 17, 3, 8)
    whole = attention.flash_attn_func(q, k, v)
    monkeypatch.setattr(attention, "_FUSED", frozenset())
    with limited(limit):
        torch.testing.assert_close(attention.flash_attn_func(q, k, v), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_each_precision_is_as_good_as_it_can_be(dtype) -> None:
    q, k, v = (random_tensor(seed, 40, 2, 16, dtype=dtype) for seed in (8, 9, 10))
    out = attention.flash_attn_varlen_func(q, k, v, spans([25, 15]), spans([25, 15]), 25, 25)
    assert out.dtype == dtype
    exact = torch.cat([reference(q[s], k[s], v[s]) for s in (slice(25), slice(25, 40))])
    assert (out.double() - exact).abs().max() <= 8 * torch.finfo(dtype).eps


def test_many_equal_sequences_are_worked_on_together(monkeypatch) -> None:
    calls = []
    plain = attention.flash_attn_func
    monkeypatch.setattr(attention, "flash_attn_func", lambda *rest: calls.append(len(rest[0])) or plain(*rest))
    qkv, ends = random_tensor(11, 64, 3, 1, 4), spans([4] * 16)
    attention.flash_attn_varlen_qkvpacked_func(qkv, ends, 4)
    assert calls == [16]


def test_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match="training"):
        attention.flash_attn_func(*[random_tensor(12, 1, 2, 1, 4)] * 3, dropout_p=0.1)
