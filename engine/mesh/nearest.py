# SPDX-License-Identifier: GPL-3.0-or-later
"""The closest points of a surface as points in space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .closest import Surface

if TYPE_CHECKING:
    from ..backends.base import Run


class Nearest(NamedTuple):
    """For each of N points the closest `point` float64 (N, 3), its `face` int32 (N,) and `distance` float64 (N,)."""

    point: npt.NDArray[np.float64]
    face: npt.NDArray[np.int32]
    distance: npt.NDArray[np.float64]


def closest_points(surface: Surface, points: npt.NDArray[Any], run: Run | None = None) -> Nearest:
    """Return the closest point of `surface` to each of `points` (N, 3)."""
    hits = surface.closest(points, run)
    a, b, c = (np.asarray(surface.positions[surface.faces[hits.face, k]], np.float64) for k in range(3))
    second, third = (hits.weights[:, k, None].astype(np.float64) for k in range(2))
    return Nearest(a + second * (b - a) + third * (c - a), hits.face, hits.distance.astype(np.float64))
