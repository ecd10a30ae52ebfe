# SPDX-License-Identifier: GPL-3.0-or-later
"""Tangents by the MikkTSpace standard, so that a normal map means the same in every renderer that follows it.

An own implementation, on whole arrays, of what M. Mikkelsen's "Simulation of Wrinkled Surfaces Revisited" (2008) and
the behavior of the reference define, for triangles: corners of equal position, normal and UV are one vertex; at such a
vertex, the triangles of equal UV orientation that are joined through edges form a group; the tangent of a group is the
mean of its triangles' tangents, each projected on the normal's plane and weighted by the triangle's angle there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .normals import dot, normalize
from .rows import equal_rows, float_bits

SMALLEST = float(np.finfo(np.float32).tiny)
"""What is nearer to zero than this is zero, as in the reference."""
ADOPTIONS = 8
"""Rings of faces without UV area around a face with one that join its groups."""


def corner_tangents(
    positions: npt.NDArray[Any],
    faces: npt.NDArray[Any],
    normals: npt.NDArray[Any],
    uvs: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the unit tangent of each corner, float32 (F, 3, 3), and the sign of its bitangent, float32 (F, 3).

    `positions` (V, 3), `faces` (F, 3), `normals` (F, 3, 3) of unit length and `uvs` (F, 3, 2) for each corner, with V
    pointing up: flip glTF's. The bitangent is sign * cross(normal, tangent). Corners that no face with a UV area gives
    a tangent have (1, 0, 0) and -1.
    """
    corner_positions = np.asarray(positions, dtype=np.float32)[faces].astype(np.float64)
    uvs = np.asarray(uvs, dtype=np.float32).astype(np.float64)
    normals = np.asarray(normals, dtype=np.float32).astype(np.float64)
    vertex = _weld(corner_positions, normals, uvs)
    spot = _weld(corner_positions)
    solid = (spot[:, 0] != spot[:, 1]) & (spot[:, 1] != spot[:, 2]) & (spot[:, 2] != spot[:, 0])

    tangent, preserving, mapped = _face_tangents(corner_positions, uvs)
    group = _groups(vertex, solid, preserving, mapped)

    weighted = _weighted_tangents(corner_positions, normals, tangent)
    counted = np.repeat(solid & mapped, 3)
    size = int(group.max(initial=-1)) + 1
    sums = np.empty((size, 3))
    for axis in range(3):
        sums[:, axis] = np.bincount(group[counted], weighted.reshape(-1, 3)[counted, axis], minlength=size)
    known = np.zeros(size, dtype=bool)
    known[group[counted]] = True
    sign_of = np.full(size, -1.0)
    sign_of[group[counted]] = np.where(np.repeat(preserving, 3)[counted], 1.0, -1.0)
    length = np.sqrt(dot(sums, sums))
    usable = length > SMALLEST
    sums[usable] /= length[usable, None]

    out = np.where(known[group][:, None], sums[group], (1.0, 0.0, 0.0))
    sign = np.where(known[group], sign_of[group], -1.0)
    _fill_void(out, sign, vertex.reshape(-1), np.repeat(solid, 3))
    return out.reshape(-1, 3, 3).astype(np.float32), sign.reshape(-1, 3).astype(np.float32)


def _weld(*columns: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return int64 (F, 3): equal numbers for corners that are equal in all of `columns` (F, 3, K)."""
    rows = np.concatenate([float_bits(column.reshape(-1, column.shape[-1])) for column in columns], axis=1)
    return equal_rows(rows)[1].reshape(-1, 3)


def _face_tangents(
    corners: npt.NDArray[np.float64], uvs: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return for each face its tangent, whether UV keeps its orientation, and whether it has one at all."""
    one, two = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    preserving = area > 0
    side_one, side_two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    along_u: npt.NDArray[np.float64] = two[:, 1, None] * side_one - one[:, 1, None] * side_two
    along_v: npt.NDArray[np.float64] = one[:, 0, None] * side_two - two[:, 0, None] * side_one
    length_u, length_v = np.sqrt(dot(along_u, along_u)), np.sqrt(dot(along_v, along_v))
    sized: npt.NDArray[np.bool_] = np.abs(area) > SMALLEST
    scale = np.where(preserving, 1.0, -1.0) / np.where(length_u > SMALLEST, length_u, 1.0)
    mapped = sized & (length_u > SMALLEST) & (length_v > SMALLEST)
    return along_u * np.where(sized, scale, 1.0)[:, None], preserving, mapped


def _groups(
    vertex: npt.NDArray[np.int64],
    solid: npt.NDArray[np.bool_],
    preserving: npt.NDArray[np.bool_],
    mapped: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Return the group of each corner, int64 (3F,).

    Corners join across the edges their faces share with opposite winding, if their UV orientation is the same. Faces
    that have no UV area take the orientation of the first face that reaches them.
    """
    left, right = _joined_edges(vertex, solid)
    face_left, face_right = left // 3, right // 3
    orientation = np.where(mapped, np.where(preserving, 1, 0), -1)
    for _ in range(ADOPTIONS):
        if (orientation[solid] >= 0).all():
            break
        adopted = orientation.copy()
        for here, there in ((face_right, face_left), (face_left, face_right)):
            blank = (orientation[here] < 0) & (orientation[there] >= 0)
            first = np.flatnonzero(blank)[::-1]
            adopted[here[first]] = orientation[there[first]]
        orientation = adopted
    same = orientation[face_left] == orientation[face_right]
    left, right = left[same], right[same]

    def following(corner: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.asarray(corner - corner % 3 + (corner + 1) % 3)

    # The edge of `left` starts where that of `right` ends.
    rows = np.concatenate([left, following(left)])
    columns = np.concatenate([following(right), right])
    size = vertex.size
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _joined_edges(
    vertex: npt.NDArray[np.int64], solid: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return pairs of corners whose edges, each to its face's next corner, join two faces.

    Of several faces at an edge, the first that runs one way joins the first that runs the other, and so on.
    """
    start, end = vertex.reshape(-1), np.roll(vertex, -1, axis=1).reshape(-1)
    corner = np.flatnonzero(np.repeat(solid, 3) & (start != end))
    start, end = start[corner], end[corner]
    forward = start < end
    count = int(vertex.max(initial=0)) + 1
    key = (np.minimum(start, end) * count + np.maximum(start, end)) * 2 + forward
    order = np.argsort(key, kind="stable")
    key, corner = key[order], corner[order]
    fresh = np.ones(len(key), dtype=bool)
    np.not_equal(key[1:], key[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh)
    rank = np.arange(len(key)) - np.repeat(starts, np.diff(np.append(starts, len(key))))
    by_rank = np.lexsort((key & 1, rank, key >> 1))
    key, corner, rank = key[by_rank], corner[by_rank], rank[by_rank]
    pair = np.flatnonzero((key[1:] == key[:-1] + 1) & (key[:-1] & 1 == 0) & (rank[1:] == rank[:-1]))
    return corner[pair], corner[pair + 1]


def _weighted_tangents(
    corners: npt.NDArray[np.float64], normals: npt.NDArray[np.float64], tangent: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return float64 (F, 3, 3): each face's tangent in the plane of each corner's normal, times the face's angle."""
    out = np.empty_like(normals)
    for corner in range(3):
        normal = normals[:, corner]

        def flat(vector: npt.NDArray[np.float64], normal: npt.NDArray[np.float64] = normal) -> npt.NDArray[np.float64]:
            return normalize(vector - dot(vector, normal)[:, None] * normal)

        back = flat(corners[:, corner - 1] - corners[:, corner])
        ahead = flat(corners[:, (corner + 1) % 3] - corners[:, corner])
        angle = np.arccos(np.clip(dot(back, ahead), -1.0, 1.0))
        out[:, corner] = flat(tangent) * angle[:, None]
    return out


def _fill_void(
    tangents: npt.NDArray[np.float64],
    signs: npt.NDArray[np.float64],
    vertex: npt.NDArray[np.int64],
    solid: npt.NDArray[np.bool_],
) -> None:
    """Give corners of faces that have lost a side the tangent of another face's corner at the same vertex."""
    void = np.flatnonzero(~solid)
    if not len(void):
        return
    donors = np.flatnonzero(solid)[::-1]
    donor = np.full(int(vertex.max()) + 1, -1, dtype=np.int64)
    donor[vertex[donors]] = donors
    found = donor[vertex[void]]
    void, found = void[found >= 0], found[found >= 0]
    tangents[void], signs[void] = tangents[found], signs[found]
