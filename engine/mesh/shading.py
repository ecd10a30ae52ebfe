# SPDX-License-Identifier: GPL-3.0-or-later
"""Normals to shade a mesh with: smooth, but for edges that are sharp."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .normals import face_crosses, normalize
from .topology import connected, half_edges

CREASE_DEG = 50.0
"""Edges that bend by more than this are sharp."""


def shade(
    positions: npt.NDArray[Any], faces: npt.NDArray[Any], crease_deg: float = CREASE_DEG
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the normal of each corner, int64 (F, 3), as a row of normals float32 (N, 3) of unit length.

    `positions` (V, 3), `faces` int (F, 3). The corners at a vertex share the mean of their faces' normals, weighted by
    area, as far as edges that bend by at most `crease_deg` join them; at 180 all are smooth.
    """
    crosses = face_crosses(positions, faces)
    unit = normalize(crosses)
    pairs = half_edges(faces).pairs()
    one, two = pairs.T
    face, corner = one // 3, one % 3
    other, other_corner = two // 3, two % 3
    bend = np.einsum("ij,ij->i", unit[face], unit[other])
    opposite = faces[face, corner] == faces[other, (other_corner + 1) % 3]
    joined = opposite & (bend >= np.cos(np.radians(crease_deg)) - 1e-9)
    face, corner, other, other_corner = (values[joined] for values in (face, corner, other, other_corner))
    first = np.concatenate([3 * face + corner, 3 * face + (corner + 1) % 3])
    second = np.concatenate([3 * other + (other_corner + 1) % 3, 3 * other + other_corner])
    group = connected(3 * len(faces), first, second)
    count = int(group.max(initial=-1)) + 1
    sums = np.stack([np.bincount(group, np.repeat(crosses[:, axis], 3), count) for axis in range(3)], axis=1)
    normals = normalize(sums)
    # A corner of faces without area, or that cancel out, faces some way all the same: a file holds no zero normal.
    normals[~(np.einsum("ij,ij->i", normals, normals) > 0.5)] = (0.0, 1.0, 0.0)
    return group.reshape(-1, 3), normals.astype(np.float32)
