# SPDX-License-Identifier: GPL-3.0-or-later
"""Transforms of glTF's nodes (section 3.5.3), and meshes moved by them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .glb_container import Object, Reading
from .model import Mesh


def node_matrix(reading: Reading, node: Object) -> npt.NDArray[np.float64]:
    """Return the local matrix (4, 4) of `node`, which multiplies columns."""
    if "matrix" in node:
        matrix = np.array(reading.numbers(node, "matrix", (0.0,) * 16)).reshape(4, 4).T
        if not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0)):
            reading.invalid("a node's matrix is not affine")
        return matrix
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(reading, node) * reading.numbers(node, "scale", (1.0, 1.0, 1.0))
    matrix[:3, 3] = reading.numbers(node, "translation", (0.0, 0.0, 0.0))
    return matrix


def _rotation(reading: Reading, node: Object) -> npt.NDArray[np.float64]:
    x, y, z, w = reading.numbers(node, "rotation", (0.0, 0.0, 0.0, 1.0), -1.0, 1.0)
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if length < 1e-6:
        reading.invalid("a node's rotation is zero")
    x, y, z, w = x / length, y / length, z / length, w / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def apply_transform(mesh: Mesh, matrix: npt.NDArray[np.float64]) -> Mesh:
    """Return `mesh` moved by `matrix` (4, 4); a mirroring matrix turns the faces round so that they keep facing out.

    Positions beyond the range of float32 become infinite. Normals are dropped where the matrix flattens the mesh.
    """
    linear = matrix[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        positions = (mesh.positions @ linear.T + matrix[:3, 3]).astype(np.float32)
        determinant = float(np.linalg.det(linear))
    normals = None
    if mesh.normals is not None and math.isfinite(determinant) and determinant != 0.0:
        normals = _moved_normals(mesh.normals, linear)
    faces = mesh.faces[:, ::-1].copy() if determinant < 0.0 else mesh.faces
    return Mesh(positions, faces, normals, mesh.uvs)


def _moved_normals(normals: npt.NDArray[np.float32], linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float32] | None:
    """Return `normals` (V, 3) moved by the inverse transpose of `linear`, at unit length or zero."""
    try:
        moved = normals @ np.linalg.inv(linear)
    except np.linalg.LinAlgError:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.sqrt(np.einsum("ij,ij->i", moved, moved))
        usable = np.isfinite(length) & (length > 0.0)
        moved /= np.where(usable, length, 1.0)[:, None]
    moved[~usable] = 0.0
    return moved.astype(np.float32)
