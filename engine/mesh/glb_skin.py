# SPDX-License-Identifier: GPL-3.0-or-later
"""Skins of a GLB (glTF 2.0, section 3.7.3): a mesh as its joints hold it before anything moves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .glb_accessors import read_vectors
from .glb_container import Object, Reading
from .model import Mesh
from .normals import cross, normalize

Matrices = Mapping[int, npt.NDArray[np.float64]]
_BATCH = 1 << 16


def joint_matrices(reading: Reading, index: int, world: Matrices) -> npt.NDArray[np.float64] | None:
    """Return what moves a vertex that hangs on each joint of skin `index`, float64 (J, 3, 4).

    `world` has the matrix of each node of the scene. None where a joint is not among them.
    """
    skin = reading.entry("skins", index)
    joints = [reading.integer({"joints": joint}, "joints") for joint in reading.array(skin, "joints")]
    if not joints:
        reading.invalid("a skin has no joints")
    if any(joint not in world for joint in joints):
        return None
    matrices = np.stack([world[joint] for joint in joints])
    if "inverseBindMatrices" in skin:
        inverse = read_vectors(reading, reading.integer(skin, "inverseBindMatrices"), "MAT4", "inverseBindMatrices")
        if len(inverse) < len(joints):
            reading.invalid("a skin has fewer matrices than joints")
        with np.errstate(over="ignore", invalid="ignore"):
            matrices = matrices @ inverse[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
    if not np.isfinite(matrices).all():
        reading.invalid("a joint's transform is out of range")
    return matrices[:, :3]


def skinned(reading: Reading, mesh: Mesh, attributes: Object, matrices: npt.NDArray[np.float64]) -> Mesh | None:
    """Return `mesh` moved by the joints that its primitive's `attributes` name; None where they name none."""
    count = len(mesh.positions)
    joints: list[npt.NDArray[np.float32]] = []
    weights: list[npt.NDArray[np.float32]] = []
    while f"JOINTS_{len(joints)}" in attributes and f"WEIGHTS_{len(joints)}" in attributes:
        for name, into in (("JOINTS", joints), ("WEIGHTS", weights)):
            key = f"{name}_{len(into)}"
            into.append(read_vectors(reading, reading.integer(attributes, key), "VEC4", key))
            if len(into[-1]) != count:
                reading.invalid(f"{key} has {len(into[-1])} values for {count} vertices")
    if not joints:
        return None
    joint, weight = np.concatenate(joints, axis=1).astype(np.int64), np.concatenate(weights, axis=1)
    if joint.min() < 0 or joint.max() >= len(matrices):
        reading.invalid("a vertex hangs on a joint that is not there")
    weight = np.maximum(weight, 0.0)
    weight[weight.sum(axis=1) <= 0.0, 0] = 1.0
    weight /= weight.sum(axis=1, keepdims=True)
    positions = np.empty((count, 3), np.float32)
    normals = None if mesh.normals is None else np.empty((count, 3), np.float32)
    for start in range(0, count, _BATCH):
        part = slice(start, start + _BATCH)
        moved = np.einsum("vk,vkij->vij", weight[part].astype(np.float64), matrices[joint[part]])
        with np.errstate(over="ignore", invalid="ignore"):
            positions[part] = np.einsum("vij,vj->vi", moved[:, :, :3], mesh.positions[part]) + moved[:, :, 3]
            if normals is not None and mesh.normals is not None:
                normals[part] = _turned(mesh.normals[part], moved)
    return Mesh(positions, mesh.faces, normals, mesh.uvs)


def _turned(normals: npt.NDArray[np.float32], matrices: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return `normals` (V, 3) by the cofactors of `matrices` (V, 3, 4), the inverse transposes but for a factor."""
    rows = [matrices[:, row, :3] for row in range(3)]
    cofactors = np.stack([cross(rows[1], rows[2]), cross(rows[2], rows[0]), cross(rows[0], rows[1])], axis=1)
    turned = np.nan_to_num(normalize(np.einsum("vij,vj->vi", cofactors, normals)))
    return np.asarray(turned)
