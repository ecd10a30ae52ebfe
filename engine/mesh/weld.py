# SPDX-License-Identifier: GPL-3.0-or-later
"""Joining the vertices that texture seams and hard edges have split, and dropping the faces that this makes void."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # odd, so that multiplying loses no bit


@dataclass(slots=True, eq=False)
class Welded:
    """A mesh without duplicate positions.

    `positions` float32 (V, 3); `corner_vert` int32 (F, 3) names them; `corner_source` int64 (F, 3) names the vertex of
    the mesh before welding that each corner had, for its UVs and normals. `degenerate` and `duplicate` count the faces
    that were dropped.
    """

    positions: npt.NDArray[np.float32]
    corner_vert: npt.NDArray[np.int32]
    corner_source: npt.NDArray[np.int64]
    degenerate: int
    duplicate: int


def weld(positions: npt.NDArray[np.float32], faces: npt.NDArray[np.uint32]) -> Welded:
    """Return the mesh with vertices of equal position joined, 0.0 and -0.0 being equal.

    `positions` float32 (V, 3) without NaN, `faces` uint32 (F, 3). Vertices keep the order in which the first of each
    position stands; those that no face uses are left out. Faces with fewer than three distinct vertices are dropped,
    and of faces with the same three vertices all but the first. The same input gives the same output everywhere.
    """
    normal_zero = np.ascontiguousarray(positions, dtype=np.float32) + np.float32(0.0)
    first = first_equal_row(normal_zero.view(np.uint32))
    corners = first[faces]
    keep = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2]) & (corners[:, 2] != corners[:, 0])
    degenerate = len(faces) - int(np.count_nonzero(keep))
    source = faces
    if degenerate:
        corners, source = corners[keep], source[keep]
    distinct = _distinct_faces(corners)
    duplicate = len(corners) - int(np.count_nonzero(distinct))
    if duplicate:
        corners, source = corners[distinct], source[distinct]
    used = np.zeros(len(positions), dtype=bool)
    used[corners] = True
    renumbered = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return Welded(normal_zero[used], renumbered[corners], source.astype(np.int64), degenerate, duplicate)


def _distinct_faces(corners: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return for each face of `corners` (F, 3) whether no earlier face has the same three vertices."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    rows = np.empty(corners.shape, dtype=np.uint32)
    rows[:, 0], rows[:, 1], rows[:, 2] = low, corners.sum(axis=1) - low - high, high
    keys = np.sort(_hash_rows(rows))
    if not np.any(keys[1:] == keys[:-1]):  # sorting values is faster than sorting indices, and mostly enough
        return np.ones(len(corners), dtype=bool)
    distinct: npt.NDArray[np.bool_] = first_equal_row(rows) == np.arange(len(rows))
    return distinct


def first_equal_row(rows: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Return int64 (N,): for each row of `rows` uint32 (N, 3) the index of the first row equal to it."""
    keys = _hash_rows(rows)
    order = np.argsort(keys)
    ordered = keys[order]
    differs = ordered[1:] != ordered[:-1]
    same = np.flatnonzero(~differs)
    if not np.array_equal(rows[order[same]], rows[order[same + 1]]):  # two rows share a hash
        order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
        ordered_rows = rows[order]
        differs = (ordered_rows[1:] != ordered_rows[:-1]).any(axis=1)
    starts = np.concatenate(([0], np.flatnonzero(differs) + 1))
    first = np.minimum.reduceat(order, starts)
    result = np.empty(len(rows), dtype=np.int64)
    result[order] = np.repeat(first, np.diff(starts, append=len(rows)))
    return result


def _hash_rows(rows: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each row (N, 3); equal rows have equal hashes, others almost never."""
    keys = np.zeros(len(rows), dtype=np.uint64)
    for column, factor in enumerate(_ODD):
        keys ^= rows[:, column]
        keys *= np.uint64(factor)
        keys ^= keys >> np.uint64(29)
    return keys
