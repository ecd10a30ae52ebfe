# SPDX-License-Identifier: GPL-3.0-or-later
"""The edges of a triangle mesh, and which of them its normals make hard."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

HARD_ANGLE = math.radians(2.0)
"""Normals of the two faces of an edge that differ by more than this, in radians, make the edge hard."""


def find_edges(corner_vert: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the edges int32 (E, 2), lower vertex first and sorted, and the edge of each corner int32 (F, 3).

    `corner_vert` int32 (F, 3). The edge of a corner leads to the next corner of the same face.
    """
    start = corner_vert.astype(np.int64).reshape(-1)
    end = np.roll(corner_vert, -1, axis=1).astype(np.int64).reshape(-1)
    keys = (np.minimum(start, end) << 32) | np.maximum(start, end)
    order = np.argsort(keys)
    ordered = keys[order]
    begins = np.empty(len(keys), dtype=bool)
    begins[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    corner_edge = np.empty(len(keys), dtype=np.int32)
    corner_edge[order] = np.cumsum(begins, dtype=np.int32) - np.int32(1)
    unique = ordered[begins]
    edges = np.empty((len(unique), 2), dtype=np.int32)
    edges[:, 0], edges[:, 1] = unique >> 32, unique & 0xFFFFFFFF
    return edges, corner_edge.reshape(-1, 3)


def find_hard_edges(
    edges: npt.NDArray[np.int32],
    corner_vert: npt.NDArray[np.int32],
    corner_edge: npt.NDArray[np.int32],
    corner_source: npt.NDArray[np.int64],
    normals: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    """Return bool (E,): whether the two faces at an edge have different normals at either of its ends.

    `corner_source` int64 (F, 3) names the row of `normals` float32 (V, 3) of each corner. Edges of one face or of more
    than two are soft (Blender splits the normals of the latter itself), as are those where a normal is zero.
    """
    hard = np.zeros(len(edges), dtype=bool)
    flat_edge = corner_edge.reshape(-1)
    order = np.argsort(flat_edge, kind="stable")
    counts = np.bincount(flat_edge, minlength=len(edges))
    starts = np.cumsum(counts) - counts
    pairs = np.flatnonzero(counts == 2)
    first, second = order[starts[pairs]], order[starts[pairs] + 1]
    following = np.roll(np.arange(corner_vert.size).reshape(-1, 3), -1, axis=1).reshape(-1)
    vert, source = corner_vert.reshape(-1), corner_source.reshape(-1)
    # Neighbors of consistent winding run along their edge in opposite directions.
    opposite = vert[first] != vert[second]
    here = np.where(opposite, following[second], second)
    there = np.where(opposite, second, following[second])
    for a, b in ((first, here), (following[first], there)):
        left, right = source[a], source[b]
        split = np.flatnonzero(left != right)  # corners that share a vertex share its normal
        cosine = np.einsum("ij,ij->i", normals[left[split]], normals[right[split]])
        known = normals[left[split]].any(axis=1) & normals[right[split]].any(axis=1)
        hard[pairs[split[known & (cosine < math.cos(HARD_ANGLE))]]] = True
    return hard
