# SPDX-License-Identifier: GPL-3.0-or-later
"""The narrow band: those cells of a grid that the surface at a given distance from a mesh can cross, and no others.

Cells are halved from a coarse grid down to bricks of 2 x 2 x 2 voxels; a cell is kept where its centre lies within
half a diagonal of the distance, which no surface can escape, for distance changes no faster than the way travelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..errors import EspalierError
from .closest import Surface
from .cloud import Cloud
from .nearest import Nearest, closest_points
from .normals import normalize

if TYPE_CHECKING:
    from ..progress import Run

CURVED = 0.3
"""How much nearer to a corner of a brick, in voxels, the source may come by not being a plane."""
COARSEST = 32
"""Cells along the longest side of the grid where refinement begins."""
FLOOD = 320
"""Cells along the longest side of the finest grid that is held densely, to flood it from outside."""
HALF_DIAGONAL = 0.87
"""Half the diagonal of a unit cube, and a little for rounding."""
MOST_BRICKS = 6_000_000
"""Bricks of two voxels a side that a surface may fill: the work on them takes some 13 GB."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of cubic voxels: corner (0, 0, 0) at `origin` (3,), `voxel` wide, `coarse` (3,) cells at level `levels`.

    A cell of level k is 2 ** k voxels wide.
    """

    origin: npt.NDArray[np.float64]
    voxel: float
    coarse: npt.NDArray[np.int64]
    levels: int

    @classmethod
    def around(cls, positions: npt.NDArray[Any], voxel: float, margin: float) -> Grid:
        """Return a grid that holds `positions` (V, 3) and `margin` beyond them on every side."""
        low = positions.min(axis=0).astype(np.float64) - margin
        size = (positions.max(axis=0) + margin - low) / voxel
        levels = max(1, int(np.ceil(np.log2(size.max() / COARSEST))))
        coarse = np.ceil(size / 2**levels).astype(np.int64)
        slack = coarse * 2**levels - size
        return cls(low - slack * voxel / 2, voxel, coarse, levels)

    def size(self, level: int) -> npt.NDArray[np.int64]:
        """Return how many cells of `level` lie along each axis (3,)."""
        cells: npt.NDArray[np.int64] = self.coarse * 2 ** (self.levels - level)
        return cells

    def centers(self, cells: npt.NDArray[Any], level: int) -> npt.NDArray[np.float64]:
        """Return the centres (N, 3) of `cells` (N, 3) of `level`."""
        centers: npt.NDArray[np.float64] = self.origin + (cells + 0.5) * (self.voxel * 2**level)
        return centers


@dataclass(frozen=True, slots=True)
class Band:
    """`bricks` int64 (N, 3), cells of level 1.

    `distance` float64 (N,) is how far their centres are from the source, in voxels, `away` (N, 3) the direction away
    from it there. `exterior` bool (X, Y, Z): which cells of `level` have a centre outside; there may be more.
    """

    bricks: npt.NDArray[np.int64]
    distance: npt.NDArray[np.float64]
    away: npt.NDArray[np.float64]
    exterior: npt.NDArray[np.bool_]
    level: int

    def outside(self, places: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which of the voxel corners `places` (N, 3) lie in a cell of `exterior`."""
        cells = np.clip(places >> self.level, 0, np.array(self.exterior.shape) - 1)
        inside: npt.NDArray[np.bool_] = self.exterior[tuple(cells.T)]
        return inside

    def exposed(self, distance: float) -> npt.NDArray[np.bool_]:
        """Return for each brick (N, 2) whether it crosses the surface at `distance`, in voxels, near the outside.

        First on the side of the source that its centre is on, then on the other; looks a little beyond that surface.
        """
        reached = np.zeros((len(self.bricks), 2), np.bool_)
        reach = np.abs(self.away).sum(axis=1)  # of a brick's own corners, along the direction
        for column, side in enumerate((1.0, -1.0)):
            crosses = np.flatnonzero(side * self.distance + reach + CURVED >= distance)
            for beyond in (0.2, 1.0, 1.8 * 2 ** (self.level - 1)):
                step = side * (distance + beyond) - self.distance[crosses]
                at = self.bricks[crosses] * 2 + 1 + self.away[crosses] * step[:, None]
                reached[crosses, column] |= self.outside(np.floor(at).astype(np.int64))
        return reached


def narrow_band(surface: Surface, grid: Grid, distance: float, run: Run | None = None) -> Band:
    """Return the bricks that the surface at `distance` crosses.

    The exterior is flooded through cells whose centres are too far from the source for it to pass between two of them,
    on a grid of at most 320 cells a side. A narrow passage may be missed: it tells where to look first, not what to
    drop.
    """
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in grid.coarse), indexing="ij"), axis=-1).reshape(-1, 3)
    outside = np.zeros(grid.coarse, np.bool_)
    exterior: npt.NDArray[np.bool_] | None = None
    flood_level = grid.levels
    cloud = Cloud.of(surface, grid.voxel)
    for level in range(grid.levels, 0, -1):
        width = grid.voxel * 2**level
        centers = grid.centers(cells, level)
        if cloud is None:
            hits = closest_points(surface, centers, run, ordered=True)
            low = high = hits.distance
        else:
            low, high = cloud.bounds(centers, run)
        if exterior is None:
            outside[tuple(cells.T)] = low > max(distance, width / 2)
        near = (low < distance + HALF_DIAGONAL * width) & (high > distance - HALF_DIAGONAL * width)
        if np.count_nonzero(near) > MOST_BRICKS:
            raise EspalierError("remesh_dense", bricks=f"{MOST_BRICKS / 1e6:.0f}")
        cells, centers = cells[near], centers[near]
        if level == 1:
            hits = (
                closest_points(surface, centers, run, ordered=True)
                if cloud
                else Nearest(*(part[near] for part in hits))
            )
            if exterior is None:
                outside[tuple(cells.T)] = hits.distance > max(distance, width / 2)
        if exterior is None and (level == 1 or grid.size(level - 1).max() > FLOOD):
            exterior, flood_level = _flood(outside), level
        if level > 1:
            cells = (cells[:, None, :] * 2 + _OFFSETS).reshape(-1, 3)
            if exterior is None:
                outside = outside.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    assert exterior is not None
    away = normalize(centers - hits.point)
    return Band(cells, hits.distance / grid.voxel, away, exterior, flood_level)


_OFFSETS = np.array([[s & 1, s >> 1 & 1, s >> 2] for s in range(8)])


def _flood(outside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the part of `outside` that is joined, face to face, to the world beyond the array."""
    labels, _ = ndimage.label(np.pad(outside, 1, constant_values=True))
    flooded: npt.NDArray[np.bool_] = labels[1:-1, 1:-1, 1:-1] == labels[0, 0, 0]
    return flooded


@dataclass(frozen=True, slots=True)
class Corners:
    """The corners of some bricks' voxels: `place` int32 (C, 3) in voxels; `of_brick` int32 (N, 27), x fastest.

    `key` int64 (C,) ascends, and names the same corner of the same grid by the same number.
    """

    key: npt.NDArray[np.int64]
    place: npt.NDArray[np.int32]
    of_brick: npt.NDArray[np.int32]


def brick_keys(bricks: npt.NDArray[np.int64], grid: Grid) -> npt.NDArray[np.int64]:
    """Return a number (N,) for each of `bricks` (N, 3), none of which is negative or beyond the grid by over one."""
    size = grid.size(1) + 1
    keys: npt.NDArray[np.int64] = (bricks[:, 2] * size[1] + bricks[:, 1]) * size[0] + bricks[:, 0]
    return keys


def _unique(keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the different `keys` (N,) in order, and which of them each is; twice as fast as `numpy.unique`."""
    count = len(keys)
    if int(keys.max()) >= 2**62 // count:
        different, inverse = np.unique(keys, return_inverse=True)
        return different, inverse.ravel().astype(np.int32)
    packed = np.sort(keys * count + np.arange(count))
    key, index = packed // count, packed % count
    first = np.append(True, key[1:] != key[:-1])
    number = np.empty(count, np.int32)
    number[index] = np.cumsum(first) - 1
    return key[first], number


def brick_corners(bricks: npt.NDArray[np.int64], grid: Grid) -> Corners:
    """Return the corners of the voxels of `bricks` (N, 3) of `grid`, each once.

    A corner belongs to the brick it is the lower corner of, so that only bricks need be sorted and matched.
    """
    size = grid.size(1) + 1
    around = (bricks[:, None, :] + _OFFSETS).reshape(-1, 3)
    owners, inverse = _unique(brick_keys(around, grid))
    owner = inverse.reshape(-1, 8)
    of_brick = np.empty((len(bricks), 27), np.int32)
    for slot in range(27):
        at = slot % 3, slot // 3 % 3, slot // 9
        carry = sum((part >> 1) << axis for axis, part in enumerate(at))
        own = sum((part & 1) << axis for axis, part in enumerate(at))
        of_brick[:, slot] = owner[:, carry] * 8 + own
    used = np.zeros(len(owners) * 8, np.bool_)
    used[of_brick.ravel()] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    chosen = np.flatnonzero(used)
    key = owners[chosen >> 3]
    place = np.stack([key % size[0], key // size[0] % size[1], key // (size[0] * size[1])], axis=1) * 2
    place += _OFFSETS[chosen & 7]
    return Corners(key * 8 + (chosen & 7), place.astype(np.int32), number[of_brick])
