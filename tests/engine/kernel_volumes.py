# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparse volumes to test the portable kernels with, and the same ones dense."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine.backends.trellis2.kernels import memory

torch.set_num_threads(1)


@dataclass(frozen=True)
class Volume:
    """`coords` int32 (N, 4) in no order, of a volume of `batch` items and `extent` voxels."""

    coords: torch.Tensor
    batch: int
    extent: tuple[int, int, int]

    def shape(self, channels: int) -> torch.Size:
        return torch.Size([self.batch, channels, *self.extent])

    def dense(self, feats: torch.Tensor) -> torch.Tensor:
        """Return (B, C, X, Y, Z): `feats` (N, C) in their places and 0 elsewhere."""
        out = feats.new_zeros((self.batch, *self.extent, feats.shape[1]))
        out[self.coords.long().unbind(1)] = feats
        return out.permute(0, 4, 1, 2, 3)

    def sparse(self, dense: torch.Tensor) -> torch.Tensor:
        """Return (N, C): what `dense` (B, C, X, Y, Z) holds at the voxels."""
        return dense.permute(0, 2, 3, 4, 1)[self.coords.long().unbind(1)]


def random_volume(seed: int, extent: tuple[int, int, int] = (5, 6, 7), batch: int = 2, share: float = 0.3) -> Volume:
    generator = torch.Generator().manual_seed(seed)
    coords = (torch.rand((batch, *extent), generator=generator) < share).nonzero().int()
    return Volume(coords[torch.randperm(len(coords), generator=generator)], batch, extent)


def random_tensor(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@st.composite
def volumes(draw: st.DrawFn) -> Volume:
    extent = tuple(draw(st.integers(1, 6)) for _ in range(3))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return random_volume(draw(st.integers(0, 1 << 20)), extent, draw(st.integers(1, 3)), share)


@contextmanager
def limited(limit: int) -> Iterator[None]:
    """Let the kernels take no more than `limit` bytes a step."""
    before = memory.limit_bytes()
    memory.set_limit_bytes(limit)
    try:
        yield
    finally:
        memory.set_limit_bytes(before)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside and not gone yet; `most` is the most there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given = {tensor.untyped_storage().data_ptr() for tensor in tree_leaves((args, kwargs)) if _is_tensor(tensor)}
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if _is_tensor(tensor) and tensor.untyped_storage().data_ptr() not in given:
                size = tensor.untyped_storage().nbytes()
                self.now += size
                weakref.finalize(tensor, self._gone, size)
        self.most = max(self.most, self.now)
        return made

    def _gone(self, size: int) -> None:
        self.now -= size


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)
