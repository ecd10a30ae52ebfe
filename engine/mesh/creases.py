# SPDX-License-Identifier: GPL-3.0-or-later
"""Creases of a source that closest points alone would cut off.

In a concave crease a vertex in front of it is as near to one wall as to the other: drawn to either, it leaves a ragged
chamfer. So it is drawn to where the planes that its neighbours are drawn to meet, the least squares point of Ju,
Losasso, Schaefer, Warren: Dual contouring of Hermite data, 2002. Convex edges need none of this: their closest points
lie on the edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .normals import dot

TURN = 0.85
"""Cosine of the least angle between the directions of two neighbours that meet in a crease: 32 degrees."""
STIFFNESS = 0.02
"""How strongly the mean of the closest points holds where the planes do not decide."""
REACH = 2.5
"""How far, in voxels beyond the width of the band, a vertex may be drawn."""


def crease_points(
    points: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    direction: npt.NDArray[np.float64],
    quads: npt.NDArray[np.int64],
    voxel: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the vertices (M,) that stand before a concave crease, and where its walls meet (M, 3).

    `target` (V, 3) are the closest points of `points`, `direction` (V, 3) the unit vectors from the former to the
    latter, `quads` (Q, 4) what the points span.
    """
    marked = np.zeros(len(points), np.bool_)
    for first in range(4):
        i, j = quads[:, first], quads[:, (first + 1) % 4]
        bent = np.flatnonzero(dot(direction[i], direction[j]) < TURN)
        i, j = i[bent], j[bent]
        apart = target[j] - target[i]
        facing = (dot(apart, direction[i]) > 0.1 * voxel) & (dot(apart, direction[j]) < -0.1 * voxel)
        marked[i[facing]] = True
        marked[j[facing]] = True
    chosen = np.flatnonzero(marked)
    if not len(chosen):
        return chosen, np.zeros((0, 3))
    number = np.cumsum(marked) - 1
    near = quads[marked[quads].any(axis=1)]
    count = len(chosen)
    matrix, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
    middle, weight = np.zeros((count, 3)), np.zeros(count)
    for mine in range(4):
        of_marked = near[marked[near[:, mine]]]
        row = number[of_marked[:, mine]]
        for other in range(4):
            plane, at = direction[of_marked[:, other]], target[of_marked[:, other]]
            offset = dot(plane, at)
            weight += np.bincount(row, minlength=count)
            for a in range(3):
                right[:, a] += np.bincount(row, plane[:, a] * offset, count)
                middle[:, a] += np.bincount(row, at[:, a], count)
                for b in range(3):
                    matrix[:, a, b] += np.bincount(row, plane[:, a] * plane[:, b], count)
    middle /= weight[:, None]
    pull = STIFFNESS * weight
    matrix += pull[:, None, None] * np.eye(3)
    meeting = np.linalg.solve(matrix, (right + pull[:, None] * middle)[..., None])[..., 0]
    width = np.sqrt(dot(points[chosen] - target[chosen], points[chosen] - target[chosen]))
    moved = meeting - points[chosen]
    sound = np.sqrt(dot(moved, moved)) < width + REACH * voxel
    return chosen[sound], meeting[sound]
