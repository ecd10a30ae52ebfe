# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of flash-attn, in front of torch's own scaled dot-product attention."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from .memory import pieces

_FUSED = frozenset({"cpu", "cuda"})
"""Devices on which torch never writes all scores of a query down at once; elsewhere queries are taken in pieces."""


def flash_attn_func(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, dropout_p: float = 0.0, softmax_scale: float | None = None
) -> torch.Tensor:
    """Return (B, Lq, H, Cv): each query's mean of the values, weighed by softmax of its products with the keys.

    `q` (B, Lq, H, C), `k` (B, Lk, H, C), `v` (B, Lk, H, Cv); products are scaled by `softmax_scale`, else 1 / sqrt(C).
    Without keys the result is 0. Raises ValueError for a dropout: this is for inference.
    """
    if dropout_p:
        raise ValueError("dropout is for training")
    q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
    if q.device.type in _FUSED and q.shape[-1] == v.shape[-1]:
        return scaled_dot_product_attention(q, k, v, scale=softmax_scale).transpose(1, 2)
    batch, heads, length = q.shape[:3]
    out = q.new_empty((batch, heads, length, v.shape[-1]))
    for piece in pieces(length, 2 * batch * heads * k.shape[2] * 4):
        out[:, :, piece] = scaled_dot_product_attention(q[:, :, piece], k, v, scale=softmax_scale)
    return out.transpose(1, 2)


def flash_attn_qkvpacked_func(
    qkv: torch.Tensor, dropout_p: float = 0.0, softmax_scale: float | None = None
) -> torch.Tensor:
    """Return what `flash_attn_func` does for `qkv` (B, L, 3, H, C)."""
    q, k, v = qkv.unbind(dim=2)
    return flash_attn_func(q, k, v, dropout_p, softmax_scale)


def flash_attn_kvpacked_func(
    q: torch.Tensor, kv: torch.Tensor, dropout_p: float = 0.0, softmax_scale: float | None = None
) -> torch.Tensor:
    """Return what `flash_attn_func` does for `kv` (B, Lk, 2, H, C)."""
    k, v = kv.unbind(dim=2)
    return flash_attn_func(q, k, v, dropout_p, softmax_scale)


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
) -> torch.Tensor:
    """Return (Tq, H, Cv): attention within each of several sequences that lie one after another.

    `q` (Tq, H, C), `k` (Tk, H, C), `v` (Tk, H, Cv). Sequence i spans the rows `cu_seqlens_q`[i] to [i + 1] of `q` and
    likewise `cu_seqlens_k` of the others. Sequences of equal lengths are worked on together; the longest lengths are
    read off the spans and not off `max_seqlen_q` and `max_seqlen_k`.
    """
    out = q.new_zeros((*q.shape[:2], v.shape[-1]))
    for starts_q, length_q, starts_k, length_k in _alike(cu_seqlens_q.tolist(), cu_seqlens_k.tolist()):
        if len(starts_q) == 1:
            of_q, of_k = (slice(a, a + n) for a, n in ((starts_q[0], length_q), (starts_k[0], length_k)))
            out[of_q] = flash_attn_func(q[None, of_q], k[None, of_k], v[None, of_k], dropout_p, softmax_scale)[0]
        else:
            rows_q, rows_k = _rows(starts_q, length_q, q.device), _rows(starts_k, length_k, q.device)
            out[rows_q] = flash_attn_func(q[rows_q], k[rows_k], v[rows_k], dropout_p, softmax_scale)
    return out


def flash_attn_varlen_qkvpacked_func(
    qkv: torch.Tensor,
    cu_seqlens: torch.Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
) -> torch.Tensor:
    """Return what `flash_attn_varlen_func` does for `qkv` (T, 3, H, C)."""
    q, k, v = qkv.unbind(dim=1)
    return flash_attn_varlen_func(q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, dropout_p, softmax_scale)


def flash_attn_varlen_kvpacked_func(
    q: torch.Tensor,
    kv: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
) -> torch.Tensor:
    """Return what `flash_attn_varlen_func` does for `kv` (Tk, 2, H, C)."""
    k, v = kv.unbind(dim=1)
    return flash_attn_varlen_func(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale
    )


def _alike(ends_q: list[int], ends_k: list[int]) -> list[tuple[list[int], int, list[int], int]]:
    """Return the sequences with as many queries and keys as each other, as starts and lengths; empty ones left out."""
    groups: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for start_q, end_q, start_k, end_k in zip(ends_q, ends_q[1:], ends_k, ends_k[1:], strict=False):
        if end_q > start_q:
            starts = groups.setdefault((end_q - start_q, end_k - start_k), ([], []))
            starts[0].append(start_q)
            starts[1].append(start_k)
    return [(of_q, length_q, of_k, length_k) for (length_q, length_k), (of_q, of_k) in groups.items()]


def _rows(starts: list[int], length: int, device: torch.device) -> torch.Tensor:
    return torch.tensor(starts, device=device)[:, None] + torch.arange(length, device=device)
