# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that are contoured: how far each corner of the band is beyond a given distance from the source.

Asking the source is what costs. So each corner first gets the least of what its bricks' centres predict to first
order, and only the corners of edges that change sign are asked, until every such edge has been asked at both ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .closest import Surface
from .voxels import Band, Corners, Grid

if TYPE_CHECKING:
    from ..backends.base import Run

ROUNDS = 64
"""A bound on the rounds; three or four do."""


def corner_values(
    surface: Surface,
    grid: Grid,
    band: Band,
    chosen: npt.NDArray[np.int64],
    corners: Corners,
    distance: float,
    run: Run | None = None,
) -> npt.NDArray[np.float32]:
    """Return distance from the source less `distance`, in voxels, at `corners` of the bricks `chosen`: float32 (C,).

    Exact at both ends of each voxel edge whose ends differ in sign, and right in sign elsewhere up to features that
    none of the eight centres around a corner sees.
    """
    values = np.full(len(corners.place), np.inf, np.float32)
    for slot in range(27):
        at = corners.of_brick[:, slot]
        step = np.array([slot % 3 - 1, slot // 3 % 3 - 1, slot // 9 - 1], np.float64)
        guess = np.abs(band.distance[chosen] + band.away[chosen] @ step)
        values[at] = np.minimum(values[at], (guess - distance).astype(np.float32))
    exact = np.zeros(len(values), np.bool_)
    for _ in range(ROUNDS):
        if run is not None:
            run.check()
        asked = np.flatnonzero(_at_sign_changes(corners, values < 0) & ~exact)
        if not len(asked):
            break
        far = surface.closest(grid.origin + corners.place[asked] * grid.voxel, run).distance
        values[asked] = far / grid.voxel - distance
        exact[asked] = True
    return values


def _at_sign_changes(corners: Corners, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which corners (C,) end a voxel edge whose ends differ."""
    marked = np.zeros(len(inside), np.bool_)
    signs = inside[corners.of_brick].reshape(-1, 3, 3, 3)
    index = corners.of_brick.reshape(-1, 3, 3, 3)
    for axis in range(1, 4):
        low = tuple(slice(None, -1) if k == axis else slice(None) for k in range(4))
        high = tuple(slice(1, None) if k == axis else slice(None) for k in range(4))
        differ = signs[low] != signs[high]
        marked[index[low][differ]] = True
        marked[index[high][differ]] = True
    return marked
