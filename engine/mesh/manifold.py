# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking apart what touches itself: edges of more than two faces and vertices where several sheets meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .normals import cross, dot, face_crosses, normalize
from .topology import HalfEdges, half_edges, linked

APART = 1e-3
"""How far a vertex that was split is drawn into its own sheet, as a share of the way to its faces' centres."""


def split_nonmanifold(
    positions: npt.NDArray[Any], faces: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return positions (V, 3), faces (F', 3) and the old face (F',) of each, of a manifold, perhaps with open edges.

    At an edge of more than two faces those that follow one another around it, and run along it in opposite
    directions, stay joined: a closed surface stays closed. Each vertex gets one copy for each of its sheets, and the
    copies are drawn apart a little, so that welding by position does not join them again. Where two edges still have
    the same two vertices, each gets one in its middle. Every face must have three different vertices.
    """
    edges = half_edges(faces)
    twins = np.concatenate([_opposite(edges), _fan_twins(positions, faces, edges)])
    fan = _fans(3 * len(faces), twins)
    old = np.zeros(int(fan.max(initial=-1)) + 1, np.int64)
    old[fan] = faces.ravel()
    order = np.argsort(old, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    old, split = old[order], number[fan].reshape(-1, 3)
    points = np.asarray(positions, np.float64)[old]
    _draw_apart(points, split, np.bincount(old, minlength=len(positions))[old] > 1)
    points, split, source = _halve_doubled(points, split, twins)
    return points, split.astype(np.int32), source


def _fans(count: int, twins: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the fan int64 (count,) that each corner is of: those that follow one another across `twins` (N, 2)."""
    links = np.repeat(np.arange(count, dtype=np.int32)[:, None], 2, axis=1)
    for one, two in (twins.T, twins.T[::-1]):
        # Of two half-edges in opposite directions, each one's start is the other's end.
        links[one, 0], links[_next(one), 1] = _next(two), two
    return linked(links)


def _next(half: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the half-edge after each of `half` (N,) around its face."""
    after: npt.NDArray[np.int64] = half - half % 3 + (half + 1) % 3
    return after


def _draw_apart(points: npt.NDArray[np.float64], faces: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]) -> None:
    """Move each vertex of `chosen` (V,) a little towards the centres of its faces, in place."""
    if not chosen.any():
        return
    at = chosen[faces]
    rows = faces[at]
    middle = np.repeat(points[faces].mean(axis=1)[:, None], 3, axis=1)[at]
    times = np.bincount(rows, minlength=len(points))[chosen]
    total = np.stack([np.bincount(rows, middle[:, axis], len(points))[chosen] for axis in range(3)], axis=1)
    points[chosen] += APART * (total / times[:, None] - points[chosen])


def _halve_doubled(
    points: npt.NDArray[np.float64], faces: npt.NDArray[np.int64], twins: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return vertices, faces and the old face of each, with a vertex on each edge that shares both its ends."""
    edges = half_edges(faces)
    crowded = np.zeros(3 * len(faces), np.bool_)
    crowded[edges.order[np.repeat(edges.count > 2, edges.count)]] = True
    source = np.arange(len(faces))
    if not crowded.any():
        return points, faces, source
    on_half: dict[int, int] = {}
    middles = []
    for one, two in twins[crowded[twins[:, 0]]]:
        middles.append((points[faces[one // 3, one % 3]] + points[faces[two // 3, two % 3]]) / 2)
        on_half[int(one)] = on_half[int(two)] = len(points) + len(middles) - 1
    pieces, owners = [], []
    touched = np.unique(np.array(list(on_half), np.int64) // 3)
    for face in touched:
        outline = []
        for corner in range(3):
            outline.append(int(faces[face, corner]))
            if 3 * face + corner in on_half:
                outline.append(on_half[3 * face + corner])
        first = next(i for i, vertex in enumerate(outline) if vertex >= len(points))
        outline = outline[first:] + outline[:first]
        pieces += [(outline[0], outline[i], outline[i + 1]) for i in range(1, len(outline) - 1)]
        owners += [face] * (len(outline) - 2)
    kept = np.ones(len(faces), np.bool_)
    kept[touched] = False
    whole = np.concatenate([faces[kept], np.array(pieces, np.int64).reshape(-1, 3)])
    grown = np.concatenate([points, np.array(middles).reshape(-1, 3)])
    new = np.zeros(len(grown), np.bool_)
    new[len(points) :] = True
    _draw_apart(grown, whole, new)
    return grown, whole, np.concatenate([source[kept], np.array(owners, np.int64)])


def _opposite(edges: HalfEdges) -> npt.NDArray[np.int64]:
    """Return the pairs of half-edges at edges of two faces that run in opposite directions."""
    pairs = edges.pairs()
    agree: npt.NDArray[np.int64] = pairs[edges.ascending[pairs[:, 0]] != edges.ascending[pairs[:, 1]]]
    return agree


def _fan_twins(positions: npt.NDArray[Any], faces: npt.NDArray[Any], edges: HalfEdges) -> npt.NDArray[np.int64]:
    """Return pairs of half-edges at edges of three and more faces: neighbours in the order of their angles."""
    crowded = np.flatnonzero(edges.count > 2)
    if not len(crowded):
        return np.zeros((0, 2), np.int64)
    crosses = face_crosses(positions, faces)
    found: list[tuple[int, int]] = []
    for edge in crowded:
        halves = edges.order[edges.start[edge] : edges.start[edge] + edges.count[edge]]
        face, corner = halves // 3, halves % 3
        up = edges.ascending[halves]
        ends = np.sort(faces[face[0], [corner[0], (corner[0] + 1) % 3]])
        along = normalize((positions[ends[1]] - positions[ends[0]]).astype(np.float64)[None])
        # The direction from the edge into a face, seen along the edge.
        into = np.where(up[:, None], cross(crosses[face], along), cross(along, crosses[face]))
        across = normalize(-into)
        first = across[:1]
        angle = np.arctan2(dot(cross(first, across), along), dot(first, across)) % (2 * np.pi)
        stack: list[int] = []
        for k in np.lexsort((up, angle)):
            if stack and up[stack[-1]] != up[k]:
                found.append((int(halves[stack.pop()]), int(halves[k])))
            else:
                stack.append(int(k))
    return np.array(found, np.int64).reshape(-1, 2)
