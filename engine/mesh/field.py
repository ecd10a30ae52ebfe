# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that are contoured: how far each corner of the band is beyond a given distance from the source.

Asking the source is what costs. So each corner first gets the least of what its bricks' centres predict to first
order, and only the corners of edges that change sign are asked, until every such edge has been asked at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .closest import Surface
from .nearest import closest_points
from .voxels import Band, Corners, Grid, brick_corners

if TYPE_CHECKING:
    from ..progress import Run

UNSURE = 0.5
"""Voxels from the source within which a guess does not tell its sides apart."""
APART = 0.02
"""The least value at either end of an edge that changes sign, so that no two crossings are at one corner."""
ROUNDS = 64
"""A bound on the rounds; three or four do."""


@dataclass(frozen=True, slots=True)
class Field:
    """`values` float32 (C,) at `corners`: the distance from the source less that of the surface, in voxels.

    Exact where `exact` bool (C,) is set: at both ends of each voxel edge whose ends differ in sign, on the sides asked
    for. Elsewhere right in sign, up to features that none of the eight brick centres around a corner sees.
    """

    corners: Corners
    values: npt.NDArray[np.float32]
    exact: npt.NDArray[np.bool_]


def measure(
    surface: Surface,
    grid: Grid,
    band: Band,
    sides: npt.NDArray[np.bool_],
    distance: float,
    before: Field | None = None,
    tolerance: float = 0.0,
    run: Run | None = None,
) -> Field:
    """Return the field of the surface at `distance`, in voxels, in the bricks of `band` with a side in `sides` (N, 2).

    The first side of a brick is that of the source on which its centre lies. `before` is the field of some of these
    bricks, which is not measured again. Where the guesses from the bricks around a corner agree within `tolerance`, in
    voxels, that is exact enough.
    """
    chosen = np.flatnonzero(sides.any(axis=1))
    corners = brick_corners(band.bricks[chosen], grid)
    away, center, sides = band.away[chosen], band.distance[chosen], sides[chosen]
    values = np.full(len(corners.place), np.inf, np.float32)
    most = np.zeros(len(values), np.float32)
    wanted = np.zeros(len(values), np.bool_)
    for slot in range(27):
        at = corners.of_brick[:, slot]
        guess = center + away @ np.array([slot % 3 - 1, slot // 3 % 3 - 1, slot // 9 - 1], np.float64)
        wanted[at] |= ((guess > -UNSURE) & sides[:, 0]) | ((guess < UNSURE) & sides[:, 1])
        guess = np.abs(guess).astype(np.float32)
        values[at] = np.minimum(values[at], guess)
        most[at] = np.maximum(most[at], guess)
    spread = most - values  # none where but one brick has the corner
    values -= np.float32(distance)
    exact = (spread > 0) & (spread < tolerance) & (np.abs(values) > tolerance) & wanted
    if before is not None:
        same = np.searchsorted(corners.key, before.corners.key[before.exact])
        values[same], exact[same] = before.values[before.exact], True
    of_brick = corners.of_brick
    for _ in range(ROUNDS):
        if run is not None:
            run.check()
        asked = np.flatnonzero(_at_sign_changes(of_brick, values < 0) & wanted & ~exact)
        if not len(asked):
            break
        guess = values[asked]
        far = closest_points(surface, grid.origin + corners.place[asked] * grid.voxel, run).distance
        beyond = far / grid.voxel - distance
        values[asked] = np.where(beyond < 0, np.minimum(beyond, -APART), np.maximum(beyond, APART))
        exact[asked] = True
        changed = np.zeros(len(values), np.bool_)
        changed[asked[(guess < 0) != (values[asked] < 0)]] = True
        of_brick = corners.of_brick[changed[corners.of_brick].any(axis=1)]
    return Field(corners, values, exact)


def _at_sign_changes(of_brick: npt.NDArray[np.int32], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which corners (C,) end a voxel edge of the bricks `of_brick` (N, 27) whose ends differ."""
    marked = np.zeros(len(inside), np.bool_)
    index = of_brick.reshape(-1, 3, 3, 3)
    signs = inside[index]
    for axis in range(1, 4):
        low = tuple(slice(None, -1) if k == axis else slice(None) for k in range(4))
        high = tuple(slice(1, None) if k == axis else slice(None) for k in range(4))
        differ = signs[low] != signs[high]
        marked[index[low][differ]] = True
        marked[index[high][differ]] = True
    return marked
