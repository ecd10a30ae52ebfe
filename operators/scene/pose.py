# SPDX-License-Identifier: GPL-3.0-or-later
"""How a new object stands where it is put: its height, its origin, which way it faces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import bpy
from mathutils import Euler, Matrix, Quaternion, Vector

UP = Vector((0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Pose:
    """Where and how, in world space. `turn` is about the up direction, in radians, from facing -Y; `height` is in the
    scene's units, 0 for as tall as it is. With `centered`, the origin is the middle of the bounding box and not of its
    base. The origin comes to `location`; with `stands`, the base does, also of what is centered.
    """

    location: Vector
    up: Vector = UP
    turn: float = 0.0
    height: float = 0.0
    centered: bool = False
    stands: bool = False

    @property
    def rotation(self) -> Quaternion:
        """The rotation from Blender's frame (up Z, front -Y): upright exactly where `up` is Z."""
        return UP.rotation_difference(self.up) @ Quaternion(UP, self.turn)

    @property
    def across(self) -> Vector:
        """The direction to the asset's left (the viewer's right), in which several stand side by side."""
        return self.rotation @ Vector((1.0, 0.0, 0.0))


def strike(target: bpy.types.Object, pose: Pose) -> None:
    """Give `target`, whose origin is the middle of its base and whose transform is none, the pose.

    Height and origin go into the mesh itself, so that the object's scale stays 1; of several objects below an empty
    they go into the empty's scale and into what hangs from it.
    """
    low, high = extent(target)
    tall = high.z - low.z
    factor = pose.height / tall if pose.height > 0.0 and tall > 1e-9 else 1.0
    lift = tall * factor / 2 if pose.centered else 0.0
    if target.type == "MESH":
        if factor != 1.0 or lift:
            transform_mesh(target.data, Matrix.Translation((0.0, 0.0, -lift)) @ Matrix.Scale(factor, 4))
    else:
        target.scale = (factor, factor, factor)
        for child in target.children:
            child.matrix_parent_inverse = Matrix.Translation((0.0, 0.0, -lift / factor)) @ child.matrix_parent_inverse
    target.location = Vector(pose.location) + (pose.up * lift if pose.stands else Vector())
    set_rotation(target, pose.rotation)


def set_rotation(target: bpy.types.Object, rotation: Quaternion) -> None:
    """Give `target`, whose rotation is in Euler angles, exactly none where there is none."""
    target.rotation_euler = rotation.to_euler() if rotation.angle > 1e-6 else Euler()


def transform_mesh(mesh: bpy.types.Mesh, matrix: Matrix) -> None:
    """Transform the vertices of `mesh`; where that mirrors it, its faces are turned to look outward again."""
    mesh.transform(matrix)
    if matrix.determinant() < 0.0:
        mesh.flip_normals()
    mesh.update()


def extent(target: bpy.types.Object) -> tuple[Vector, Vector]:
    """Return the lowest and the highest corner of `target` and what hangs below it, in its own frame."""
    family = [target, *target.children_recursive]
    return bounds(
        _below(item, target) @ Vector(corner) for item in family if item.type == "MESH" for corner in item.bound_box
    )


def bounds(points: Iterable[Vector]) -> tuple[Vector, Vector]:
    """Return the lowest and the highest corner of a box around `points`; of none, twice the origin."""
    known = list(points) or [Vector((0.0, 0.0, 0.0))]
    return Vector(map(min, zip(*known, strict=True))), Vector(map(max, zip(*known, strict=True)))


def _below(item: bpy.types.Object, root: bpy.types.Object) -> Matrix:
    """Return the matrix from the frame of `item` to that of `root`, which the dependency graph need not know yet."""
    if item == root:
        return Matrix.Identity(4)
    return _below(item.parent, root) @ item.matrix_parent_inverse @ item.matrix_basis
