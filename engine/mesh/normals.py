# SPDX-License-Identifier: GPL-3.0-or-later
"""Face areas and normals, and the smooth normals of vertices as Blender shades them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .rows import equal_rows, float_bits

Floats = npt.NDArray[Any]
Ints = npt.NDArray[Any]


def face_crosses(positions: Floats, faces: Ints) -> npt.NDArray[np.float64]:
    """Return float64 (F, 3): for each face its normal times twice its area."""
    a, b, c = (np.asarray(positions[faces[:, corner]], dtype=np.float64) for corner in range(3))
    return cross(b - a, c - a)


def corner_sums(positions: Floats, faces: Ints) -> npt.NDArray[np.float32]:
    """Return float32 (F, 3): for each face the sum of its corners' positions, three times its center."""
    total: npt.NDArray[np.float32] = positions[faces[:, 0]].astype(np.float32)
    for corner in (1, 2):
        total += positions[faces[:, corner]].astype(np.float32)
    return total


def cross(left: Floats, right: Floats) -> Floats:
    """Return the cross products of rows; several times faster than `numpy.cross`."""
    out = np.empty(np.broadcast_shapes(left.shape, right.shape), dtype=np.result_type(left, right))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        out[..., i] = left[..., j] * right[..., k] - left[..., k] * right[..., j]
    return out


def dot(left: Floats, right: Floats) -> Floats:
    """Return the dot products of rows."""
    return np.asarray(np.einsum("...i,...i->...", left, right))


def normalize(vectors: Floats) -> Floats:
    """Return rows of unit length; rows of zero stay zero."""
    length = np.sqrt(dot(vectors, vectors))
    return np.asarray(vectors / np.where(length > 0, length, 1)[..., None])


def vertex_normals(positions: Floats, faces: Ints, *, weld: bool = True) -> npt.NDArray[np.float32]:
    """Return float32 (V, 3): the mean of the normals of the faces at each vertex, weighted by their angles there.

    This is what Blender shows for smooth shading. With `weld`, vertices of one position share a normal, so that a
    mesh split at its UV seams is still smooth across them. A vertex without a face that has an area gets (0, 0, 1).
    """
    kind: npt.NDArray[np.int64] | None = None
    if weld:
        representative, kind = equal_rows(float_bits(positions))
        if len(representative) == len(positions):
            kind = None
        else:
            positions, faces = positions[representative], kind[faces]
    normals = np.zeros((len(positions), 3))
    for start in range(0, len(faces), _BATCH):
        part = faces[start : start + _BATCH]
        corners = np.asarray(positions[part], dtype=np.float64)
        sides = np.roll(corners, -1, axis=1) - corners
        unit = normalize(cross(sides[:, 0], sides[:, 1]))
        sides = normalize(sides)
        cosine = -dot(sides, np.roll(sides, 1, axis=1))
        angle = np.arccos(np.clip(cosine, -1.0, 1.0))
        at = part.reshape(-1)
        for axis in range(3):
            weight = (angle * unit[:, axis, None]).reshape(-1)
            normals[:, axis] += np.bincount(at, weight, minlength=len(positions))
    lost = ~normals.any(axis=1)
    normals = normalize(normals)
    normals[lost] = (0.0, 0.0, 1.0)
    smooth = normals.astype(np.float32)
    return smooth if kind is None else smooth[kind]


_BATCH = 1 << 18
"""Faces worked on at a time: intermediate arrays stay small. Each batch adds one pass over the vertices."""
