# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of dual contouring: which patches of surface cross a cell, for each of the 256 signs of its corners.

Corner s of a cell lies at (s & 1, s >> 1 & 1, s >> 2); bit s of a code is set where that corner is inside. Edge
4 a + u + 2 v runs along axis a, at offset u along axis b = a + 1 and v along axis c = a + 2 (modulo 3). On a face
whose corners alternate the inside stays connected, whichever cell looks at it; so the segments on faces close into
cycles around disks, the patches, and one vertex a patch gives a surface whose every vertex is manifold (Schaefer,
Ju, Warren: Manifold dual contouring, 2007, without its hierarchy).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt


def edge_corners(edge: int) -> tuple[int, int]:
    """Return the lower and the upper corner of `edge`."""
    axis, u, v = edge >> 2, edge & 1, edge >> 1 & 1
    low = u << (axis + 1) % 3 | v << (axis + 2) % 3
    return low, low | 1 << axis


@dataclass(frozen=True, slots=True)
class Tables:
    """`crossed` bool (256, 12); `patches` uint8 (256,), how many; `patch` uint8 (256, 12), of each crossed edge.

    `twin` bool (256, 3, 2): the face across that axis, on its lower or upper side, is crossed twice by one patch;
    `segment` uint8 (256, 3, 2, 12): on such a face, which of the two segments (0 or 1) an edge of the face belongs to.
    """

    crossed: npt.NDArray[np.bool_]
    patches: npt.NDArray[np.uint8]
    patch: npt.NDArray[np.uint8]
    twin: npt.NDArray[np.bool_]
    segment: npt.NDArray[np.uint8]


def _face_ring(axis: int, side: int) -> tuple[list[int], list[int]]:
    """Return the four corners of a face in a ring, and the four edges, edge i from corner i to corner i + 1."""
    b, c = (axis + 1) % 3, (axis + 2) % 3
    base = side << axis
    corners = [base, base | 1 << b, base | 1 << b | 1 << c, base | 1 << c]
    by_ends = {frozenset(edge_corners(edge)): edge for edge in range(12)}
    return corners, [by_ends[frozenset((corners[i], corners[(i + 1) % 4]))] for i in range(4)]


def _face_segments(code: int, axis: int, side: int) -> list[tuple[int, int]]:
    """Return the pairs of edges that the surface joins on one face of a cell."""
    corners, edges = _face_ring(axis, side)
    inside = [bool(code >> corner & 1) for corner in corners]
    crossed = [i for i in range(4) if inside[i] != inside[(i + 1) % 4]]
    if len(crossed) == 2:
        return [(edges[crossed[0]], edges[crossed[1]])]
    if len(crossed) == 4:
        return [(edges[i - 1], edges[i]) for i in range(4) if not inside[i]]
    return []


@cache
def tables() -> Tables:
    """Return the tables, made at the first call."""
    crossed = np.zeros((256, 12), np.bool_)
    patches = np.zeros(256, np.uint8)
    patch = np.zeros((256, 12), np.uint8)
    twin = np.zeros((256, 3, 2), np.bool_)
    segment = np.zeros((256, 3, 2, 12), np.uint8)
    for code in range(256):
        faces = {(axis, side): _face_segments(code, axis, side) for axis in range(3) for side in range(2)}
        root = list(range(12))
        for first, second in (pair for pairs in faces.values() for pair in pairs):
            crossed[code, [first, second]] = True
            keep, drop = root[first], root[second]
            root = [keep if label == drop else label for label in root]
        names = sorted({root[edge] for edge in range(12) if crossed[code, edge]})
        patches[code] = len(names)
        for edge in np.flatnonzero(crossed[code]):
            patch[code, edge] = names.index(root[edge])
        for (axis, side), pairs in faces.items():
            if len(pairs) == 2:
                twin[code, axis, side] = root[pairs[0][0]] == root[pairs[1][0]]
                segment[code, axis, side, list(pairs[1])] = 1
    return Tables(crossed, patches, patch, twin, segment)
