# SPDX-License-Identifier: GPL-3.0-or-later
"""The closest points of a surface as points in space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .closest import Surface
from .morton import morton_order

if TYPE_CHECKING:
    from ..progress import Run


BATCH = 1 << 16
"""Points asked at once, between two cancel points."""


class Nearest(NamedTuple):
    """For each of N points the closest `point` float64 (N, 3), its `face` int32 (N,) and `distance` float64 (N,)."""

    point: npt.NDArray[np.float64]
    face: npt.NDArray[np.int32]
    distance: npt.NDArray[np.float64]


def closest_points(
    surface: Surface, points: npt.NDArray[Any], run: Run | None = None, *, ordered: bool = False
) -> Nearest:
    """Return the closest point of `surface` to each of `points` (N, 3), which must be finite.

    `ordered` says that points that follow one another already lie close together.
    """
    found = Nearest(np.empty((len(points), 3)), np.empty(len(points), np.int32), np.empty(len(points)))
    order = None if ordered or not len(points) else morton_order(points)
    for start in range(0, len(points), BATCH):
        if run is not None:
            run.check()
        at = slice(start, start + BATCH) if order is None else order[start : start + BATCH]
        found.face[at], found.point[at], found.distance[at] = surface.find(points[at], run)
    return found
