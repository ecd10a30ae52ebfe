# SPDX-License-Identifier: GPL-3.0-or-later
"""Smoothing out the few folds that simplifying leaves: faces turned over on their neighbors, seen as dark specks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .normals import face_crosses, normalize
from .topology import half_edges

TURNED = -0.2
"""The cosine between a face and a neighbor below which the edge between them is bent back."""
ROUNDS = 12


def unfold(positions: npt.NDArray[np.float64], faces: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], int]:
    """Return positions float64 (V, 3) with folds drawn out, and how many folded faces are left.

    `positions` (V, 3), `faces` int (F, 3). A face is folded where two or more of its edges are bent back: one alone is
    the edge of a thin sheet. Its vertices move towards the middle of their neighbors; all others stay.
    """
    points = np.array(positions, np.float64)
    pairs = half_edges(faces).pairs()
    face = pairs // 3
    start = faces.ravel()[pairs[:, 0]]
    end = faces[face[:, 0], (pairs[:, 0] % 3 + 1) % 3]
    best, least = points.copy(), folded_faces(points, faces, face)
    for turn in range(ROUNDS):
        folded = least if turn == 0 else folded_faces(points, faces, face)
        if folded.sum() < least.sum():
            best, least = points.copy(), folded
        if not folded.any():
            break
        moving = np.zeros(len(points), np.bool_)
        moving[faces[folded]] = True
        near = np.flatnonzero(moving[start] | moving[end])
        one, two = np.concatenate([start[near], end[near]]), np.concatenate([end[near], start[near]])
        count = np.bincount(one, minlength=len(points))
        moving &= count > 0
        middle = np.stack([np.bincount(one, points[two, axis], len(points)) for axis in range(3)], axis=1)
        points[moving] = (points[moving] + middle[moving] / count[moving, None]) / 2
    return best, int(least.sum())


def folded_faces(
    points: npt.NDArray[np.float64], faces: npt.NDArray[Any], neighbors: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return which faces (F,) are folded; `neighbors` int (N, 2) are the faces at each edge that has two."""
    unit = normalize(face_crosses(points, faces))
    bent = np.einsum("ij,ij->i", unit[neighbors[:, 0]], unit[neighbors[:, 1]]) < TURNED
    folded: npt.NDArray[np.bool_] = np.bincount(neighbors[bent].ravel(), minlength=len(faces)) >= 2
    return folded
