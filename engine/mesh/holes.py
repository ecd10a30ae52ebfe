# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing small holes with fans of triangles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .normals import dot
from .topology import HalfEdges, connected

ROUND = 1.0
"""A hole is closed only in a piece with more area than this times the square of the hole's perimeter.

The edge of an open sheet, or the mouth of a hemisphere, is no hole: their pieces have less.
"""


def hole_fans(
    positions: npt.NDArray[Any],
    faces: npt.NDArray[Any],
    edges: HalfEdges,
    areas: npt.NDArray[np.float64],
    piece: npt.NDArray[np.int64],
    perimeter: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return new vertices (N, 3) and faces (M, 3), in terms of old and new vertices, that close small holes.

    A hole is a simple loop of edges of one face each, shorter than `perimeter`. One of three edges gets one triangle,
    others a fan around their middle. `areas` are those of the faces, `piece` is the `face_pieces`.
    """
    halves = edges.order[edges.start[edges.count == 1]]
    nothing = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    if not len(halves):
        return nothing
    start = faces.ravel()[halves].astype(np.int64)
    end = faces[halves // 3, (halves + 1) % 3].astype(np.int64)
    vertices, local = np.unique(np.concatenate([start, end]), return_inverse=True)
    local_start, local_end = local.reshape(2, -1)
    loop = connected(len(vertices), local_start, local_end)
    loops = int(loop.max()) + 1
    once = (np.bincount(local_start, minlength=len(vertices)) == 1) & (
        np.bincount(local_end, minlength=len(vertices)) == 1
    )
    simple = np.bincount(loop[~once], minlength=loops) == 0

    step = np.asarray(positions[end], np.float64) - positions[start]
    of_half = loop[local_start]
    length = np.bincount(of_half, np.sqrt(dot(step, step)), loops)
    area = np.bincount(piece, areas)
    of_loop = np.zeros(loops, np.int64)
    of_loop[of_half] = piece[halves // 3]
    chosen = simple & (length > 0) & (length < perimeter) & (area[of_loop] > ROUND * length**2)
    sides = np.bincount(of_half, minlength=loops)

    fan = chosen & (sides > 3)
    number = np.cumsum(fan) - 1
    members = fan[of_half]
    middles = np.stack(
        [np.bincount(of_half, np.asarray(positions[start, axis], np.float64), loops) for axis in range(3)], axis=1
    )
    middles = middles[fan] / sides[fan, None]
    around = np.stack([end[members], start[members], len(positions) + number[of_half[members]]], axis=1)

    triangle = (chosen & (sides == 3))[of_half]
    by_loop = np.flatnonzero(triangle)[np.argsort(of_half[triangle], kind="stable")].reshape(-1, 3)
    # The first edge of a loop of three, and the vertex that is on neither end of it.
    first, rest = by_loop[:, 0], by_loop[:, 1:]
    apex = np.where(start[rest[:, 0]] == end[first], end[rest[:, 0]], start[rest[:, 0]])
    single = np.stack([end[first], start[first], apex], axis=1)
    return middles, np.concatenate([around, single]).astype(np.int64)
