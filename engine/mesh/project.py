# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawing a remeshed surface back onto its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .closest import Surface
from .creases import crease_points
from .nearest import closest_points
from .normals import cross, dot, face_crosses, normalize
from .parallel import batches, for_each

if TYPE_CHECKING:
    from ..progress import Run

HALF_THICKNESS = 0.05
"""What is left of a sheet on either side of its source, in voxels, however far it is drawn back."""
FARTHEST = 0.98
"""The largest share of the way: beyond it triangles on sharp edges lose their area."""
SMOOTHINGS, RETREATS = 6, 4
"""Rounds in which triangles that turned over are smoothed out, and then drawn out again."""


def project_back(
    surface: Surface,
    points: npt.NDArray[np.float64],
    quads: npt.NDArray[np.int64],
    extra: npt.NDArray[np.int64],
    factor: float,
    voxel: float,
    run: Run | None = None,
) -> npt.NDArray[np.float64]:
    """Return `points` (V, 3) moved by `factor` of the way to the closest points of `surface`.

    `quads` (Q, 4) and the triangles `extra` (N, 3) are what they span; none of them turns over.
    """
    if factor <= 0:
        return points
    target = closest_points(surface, points, run, ordered=True).point
    before_crease, meeting = crease_points(points, target, normalize(points - target), quads, voxel)
    target[before_crease] = closest_points(surface, meeting, run).point
    if factor > 1 - HALF_THICKNESS:
        target = _keep_sides_apart(points, target, voxel, run)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], extra])
    return _move(points, target, triangles, min(factor, FARTHEST), run)


def _keep_sides_apart(
    points: npt.NDArray[np.float64], target: npt.NDArray[np.float64], voxel: float, run: Run | None
) -> npt.NDArray[np.float64]:
    """Return `target` (V, 3), held off the source where another side of the surface is drawn to the same place."""
    tree = cKDTree(points)
    outward = points - target
    reach = np.sqrt(dot(outward, outward))
    direction = normalize(outward)
    held = target.copy()
    for start in range(0, len(points), 1 << 16):
        if run is not None:
            run.check()
        some = slice(start, start + (1 << 16))
        gap, other = tree.query(target[some] - outward[some])
        facing = dot(direction[some], direction[other]) < -0.5
        twofold = facing & (gap < np.maximum(reach[some], 0.75 * voxel))
        held[some][twofold] += HALF_THICKNESS * voxel * direction[some][twofold]
    return held


def _move(
    start: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    triangles: npt.NDArray[np.int64],
    factor: float,
    run: Run | None,
) -> npt.NDArray[np.float64]:
    """Return `start` (V, 3) moved by `factor` towards `target`; where a triangle would turn over, its vertices go to
    the middle of their neighbours instead, and where that does not help, half the way back from round to round."""
    moved = start + factor * (target - start)
    suspects = np.arange(len(triangles))
    for turn in range(SMOOTHINGS + RETREATS):
        if run is not None:
            run.check()
        turned = _turned(start, moved, triangles if turn == 0 else triangles[suspects], run)
        if not turned.any():
            break
        bad = np.zeros(len(start), np.bool_)
        bad[triangles[suspects[turned]]] = True
        suspects = np.flatnonzero(bad[triangles].any(axis=1))
        at = np.flatnonzero(bad)
        if turn < SMOOTHINGS:
            moved[at] = _neighbour_means(moved, triangles[suspects], bad)
        else:
            moved[at] = start[at] + (moved[at] - start[at]) / 2
    return moved


def _turned(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], triangles: npt.NDArray[np.int64], run: Run | None
) -> npt.NDArray[np.bool_]:
    """Return which `triangles` (N, 3) face away from where they faced before."""
    turned = np.zeros(len(triangles), np.bool_)

    def compare(some: slice) -> None:
        part = triangles[some]
        turned[some] = dot(face_crosses(after, part), face_crosses(before, part)) < 0

    for_each(batches(len(triangles)), compare, run)
    return turned


def _neighbour_means(
    points: npt.NDArray[np.float64], triangles: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the mean neighbour (M, 3) of each vertex of `chosen` (V,), all of whose triangles are given."""
    number = np.cumsum(chosen) - 1
    count = int(number[-1]) + 1
    total, weight = np.zeros((count, 3)), np.zeros(count)
    for corner in range(3):
        of_chosen = triangles[chosen[triangles[:, corner]]]
        row = number[of_chosen[:, corner]]
        weight += 2.0 * np.bincount(row, minlength=count)
        both = points[of_chosen[:, corner - 1]] + points[of_chosen[:, corner - 2]]
        for axis in range(3):
            total[:, axis] += np.bincount(row, both[:, axis], count)
    return total / weight[:, None]


def split_quads(
    points: npt.NDArray[np.float64], quads: npt.NDArray[np.int64], run: Run | None = None
) -> npt.NDArray[np.int64]:
    """Return two triangles for each of `quads` (Q, 4), along the diagonal that folds them least."""
    across = np.zeros(len(quads), np.bool_)

    def compare(some: slice) -> None:
        a, b, c, d = (points.take(quads[some, corner], axis=0) for corner in range(4))
        ab, bc, cd, da = b - a, c - b, d - c, a - d
        at_a, at_b, at_c, at_d = (normalize(cross(*sides)) for sides in ((da, ab), (ab, bc), (bc, cd), (cd, da)))
        across[some] = dot(at_a, at_c) > dot(at_b, at_d)  # from b to d, which leaves the corners a and c whole

    for_each(batches(len(quads)), compare, run)
    triangles = quads[:, [0, 1, 2, 0, 2, 3]]
    triangles[across] = quads[across][:, [0, 1, 3, 1, 2, 3]]
    return triangles.reshape(-1, 3)
