# SPDX-License-Identifier: GPL-3.0-or-later
"""A sparse volume of surface attributes (O-Voxel), sampled anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ..errors import EspalierError
from .color import to_linear

BLOCK_BITS = 3
"""Voxels are found through dense blocks of 8 on a side, of which only those that hold any exist."""
SIDE_LIMIT = 1 << 12
"""Most voxels on a side."""


class SparseVolume:
    """Attributes at the centers of occupied voxels: a voxel at `coords` c is centered at origin + (c + 0.5) * size.

    `coords` int (N, 3); `attributes` (N, 6) are base color (sRGB), metallic, roughness and alpha, each 0 to 1, or 0 to
    255 as uint8; `origin` (3,) and `voxel_size` in the frame of the mesh. Of voxels at the same place the last counts.
    Raises EspalierError mesh_invalid where the arrays do not fit together.
    """

    def __init__(
        self,
        coords: npt.NDArray[Any],
        attributes: npt.NDArray[Any],
        origin: npt.NDArray[Any],
        voxel_size: float,
    ) -> None:
        if coords.ndim != 2 or coords.shape[1] != 3 or attributes.shape != (len(coords), 6) or not len(coords):
            raise EspalierError("mesh_invalid", reason="its voxels and their attributes do not match")
        if not np.isfinite(voxel_size) or voxel_size <= 0 or not np.isfinite(origin).all():
            raise EspalierError("mesh_invalid", reason="the size or origin of its voxels is not a number")
        self.low = coords.min(axis=0).astype(np.int64) - 1
        extent = coords.max(axis=0).astype(np.int64) - self.low + 2
        if int(extent.max()) > SIDE_LIMIT:
            raise EspalierError("mesh_invalid", reason=f"its voxels span more than {SIDE_LIMIT} on a side")
        self.origin, self.voxel_size = np.asarray(origin, dtype=np.float64), float(voxel_size)
        self.coords = coords
        scale = np.float32(1 / 255) if attributes.dtype == np.uint8 else np.float32(1)
        values = np.nan_to_num(attributes.astype(np.float32) * scale)
        values[:, :3] = to_linear(values[:, :3])
        self.values = np.concatenate([values, np.zeros((1, 6), np.float32)])  # the last row answers for empty voxels
        self._blocks = (extent >> BLOCK_BITS) + 1
        cell = coords.astype(np.int64) - self.low
        block = self._flat(cell >> BLOCK_BITS)
        self._table = np.full(int(np.prod(self._blocks)), -1, dtype=np.int32)
        used = np.unique(block)
        self._table[used] = np.arange(len(used), dtype=np.int32)
        # The last block is empty: it answers for blocks that do not exist, whose number is -1.
        self._voxels = np.full(((len(used) + 1) << (3 * BLOCK_BITS)), len(coords), dtype=np.int32)
        inside = self._inside(cell)
        self._voxels[(self._table[block].astype(np.int64) << (3 * BLOCK_BITS)) + inside] = np.arange(len(coords))
        self._table[self._table < 0] = len(used)
        self._tree: cKDTree | None = None

    def _flat(self, block: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.asarray((block[:, 0] * self._blocks[1] + block[:, 1]) * self._blocks[2] + block[:, 2])

    @staticmethod
    def _inside(cell: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        within = cell & ((1 << BLOCK_BITS) - 1)
        return (((within[:, 0] << BLOCK_BITS) | within[:, 1]) << BLOCK_BITS) | within[:, 2]

    def sample(self, points: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return float32 (P, 6) at `points` (P, 3): the same channels as the voxels, base color in linear light.

        Trilinear over the eight voxels around, with weights that add up to one over those that are occupied; where
        none is, the nearest occupied voxel's.
        """
        place = (np.asarray(points, dtype=np.float64) - self.origin) / self.voxel_size - 0.5 - self.low
        place = np.clip(place, 0.0, (self._blocks << BLOCK_BITS) - 1.001)
        corner = place.astype(np.int64)
        rest = (place - corner).astype(np.float32)
        sums = np.zeros((len(points), 6), dtype=np.float32)
        total = np.zeros(len(points), dtype=np.float32)
        for dx, dy, dz in np.ndindex(2, 2, 2):
            cell = np.minimum(corner + np.array((dx, dy, dz)), (self._blocks << BLOCK_BITS) - 1)
            block = self._table[self._flat(cell >> BLOCK_BITS)].astype(np.int64)
            voxel = self._voxels[(block << (3 * BLOCK_BITS)) + self._inside(cell)]
            weight = np.where(voxel < len(self.coords), np.float32(1), np.float32(0))
            for axis, step in enumerate((dx, dy, dz)):
                weight *= rest[:, axis] if step else 1 - rest[:, axis]
            sums += self.values[voxel] * weight[:, None]
            total += weight
        found = total > 1e-6
        out: npt.NDArray[np.float32] = sums / np.where(found, total, 1)[:, None]
        lost = np.flatnonzero(~found)
        if len(lost):
            if self._tree is None:
                self._tree = cKDTree(self.coords)
            out[lost] = self.values[self._tree.query(place[lost] + self.low)[1]]
        return out
