# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the row of a voxel: every coordinate is one whole number, and the numbers are sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

_LARGEST = (1 << 63) - 1


class VoxelKeys:
    """The voxels of a sparse volume, to be looked up by their coordinates.

    `coords` is (N, 4) of any whole-number dtype: the item of the batch, then x, y, z, each voxel there once, with
    0 <= x < `extent`[0] and so on. Raises ValueError where the volume has more places than a 64-bit number can count.
    """

    def __init__(self, coords: torch.Tensor, extent: Sequence[int]) -> None:
        self._extent = tuple(int(side) for side in extent)
        batch = int(coords[:, 0].max()) + 1 if len(coords) else 1
        if batch * math.prod(self._extent) > _LARGEST:
            raise ValueError(f"a volume of {batch} x {' x '.join(map(str, self._extent))} voxels cannot be indexed")
        self._sorted, self._rows = torch.sort(self._keys(coords.long()))

    def rows(self, coords: torch.Tensor) -> torch.Tensor:
        """Return int64 (...): the row of each voxel of `coords` (..., 4), or -1 where there is none."""
        if not len(self._sorted):
            return torch.full(coords.shape[:-1], -1, dtype=torch.int64, device=coords.device)
        coords = coords.long()
        inside = (coords[..., 1:] >= 0).all(dim=-1)
        for axis, side in enumerate(self._extent, start=1):
            inside &= coords[..., axis] < side
        keys = self._keys(coords)
        place = torch.searchsorted(self._sorted, keys).clamp_(max=len(self._sorted) - 1)
        return torch.where(inside & (self._sorted[place] == keys), self._rows[place], -1)

    def _keys(self, coords: torch.Tensor) -> torch.Tensor:
        batch, x, y, z = coords.unbind(dim=-1)
        width, height, depth = self._extent
        return ((batch * width + x) * height + y) * depth + z
