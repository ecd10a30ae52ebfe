# SPDX-License-Identifier: GPL-3.0-or-later
"""Features at some places of a grid."""

from __future__ import annotations

from typing import Any

import torch


class SparseTensor:
    """`feats` (N, C) at `coords` int32 (N, 4): number in the batch, x, y, z."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        found = dict(zip(("feats", "coords"), args, strict=False)) | kwargs
        self.feats, self.coords = found["feats"], found["coords"]
        assert len(self.feats) == len(self.coords)
        assert self.coords.dtype == torch.int32

    @property
    def device(self) -> Any:
        return self.feats.device

    @property
    def shape(self) -> Any:
        return torch.Size([1, *self.feats.shape[1:]])

    def replace(self, feats: Any, coords: Any = None) -> SparseTensor:
        return SparseTensor(feats=feats, coords=self.coords if coords is None else coords)

    def _with(self, other: Any, act: Any) -> SparseTensor:
        return self.replace(act(self.feats, getattr(other, "feats", other)))

    def __add__(self, other: Any) -> SparseTensor:
        return self._with(other, torch.add)

    def __sub__(self, other: Any) -> SparseTensor:
        return self._with(other, torch.sub)

    def __mul__(self, other: Any) -> SparseTensor:
        return self._with(other, torch.mul)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SparseTensor:
        return self._with(other, torch.div)
