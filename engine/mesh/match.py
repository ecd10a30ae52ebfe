# SPDX-License-Identifier: GPL-3.0-or-later
"""Which point of the source each texel of the target stands for: the closest one on the side that faces the same way.

The closest point alone goes wrong at thin walls: where simplification has moved the surface by more than half of the
wall, the far side is closer. Texels whose closest face looks the other way therefore ask again, among the faces that
look their way, and take the answer if it lies within what simplification moves elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..progress import Run
from .closest import POINTS_AT_ONCE, Hits, Surface
from .normals import dot

TOLERANCE = 4.0
"""A second answer may lie this many times farther away than nearly all first answers that look the right way."""
USUAL = 0.99
"""The share of first answers that "nearly all" stands for."""
LEAN = 0.2
"""Faces whose normal reaches this far along an axis answer for normals that mostly point along it."""
CELLS = 256
"""Most cells on a side of the grid by which far faces are ruled out."""


def reconsider(
    hits: Hits,
    points: npt.NDArray[Any],
    normals: npt.NDArray[Any],
    surface: Surface,
    tolerance: float,
    run: Run | None = None,
) -> int:
    """Replace, in place, answers that look the wrong way by the closest that look the right way; return how many.

    `hits` (N,) answer for `points` (N, 3), whose side of the surface is given by `normals` (N, 3). Answers farther
    than `tolerance` are not taken: on an open sheet there is no other side.
    """
    if not len(hits) or tolerance <= 0:
        return 0
    near = _near_faces(points, surface, tolerance)
    axis = np.argmax(np.abs(normals), axis=1)
    positive = normals[np.arange(len(normals)), axis] > 0
    replaced = 0
    for direction in range(6):
        mine = np.flatnonzero((axis == direction // 2) & (positive == bool(direction % 2)))
        if not len(mine):
            continue
        along = surface.normals[:, direction // 2] * np.float32(1 if direction % 2 else -1)
        part = surface.narrowed(near & (along > LEAN), run)
        if part is None:
            continue
        for start in range(0, len(mine), POINTS_AT_ONCE):
            some = mine[start : start + POINTS_AT_ONCE]
            second = part.closest(points[some], run)
            good = (second.distance <= tolerance) & (dot(surface.normals[second.face], normals[some]) > 0)
            into = some[good]
            hits.face[into] = second.face[good]
            hits.weights[into] = second.weights[good]
            hits.distance[into] = second.distance[good]
            replaced += len(into)
    return replaced


def _near_faces(points: npt.NDArray[Any], surface: Surface, reach: float) -> npt.NDArray[np.bool_]:
    """Return the faces that may have a point within `reach` of any of `points`, and some more."""
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    cell = max(reach, float((high - low).max()) / CELLS)
    shape = ((high - low) / cell).astype(np.int64) + 3
    marked = np.zeros(shape, dtype=bool)
    own = np.unique(((points - low) / cell).astype(np.int64) + 1, axis=0)
    for step in np.ndindex(3, 3, 3):
        at = own + np.asarray(step) - 1
        marked[at[:, 0], at[:, 1], at[:, 2]] = True
    positions = np.nan_to_num(surface.positions, nan=np.inf)
    place = np.clip((positions - low) / cell, -1, shape - 1.5).astype(np.int64) + 1
    place = np.clip(place, 0, shape - 1)
    vertex = marked[place[:, 0], place[:, 1], place[:, 2]]
    faces = surface.faces
    near = vertex[faces].any(axis=1)
    spread = np.zeros(len(faces), dtype=bool)
    for axis in range(3):
        along = np.asarray(positions[:, axis])[faces]
        spread |= along.max(axis=1) - along.min(axis=1) > cell
    return np.asarray(near | spread)
