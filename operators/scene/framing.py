# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a perspective camera has to stand to see all of an object, as large as it fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import bpy
from mathutils import Matrix, Vector

SAMPLES = 20000
"""Most vertices of a mesh that are looked at; more would not move the camera visibly."""


@dataclass(frozen=True)
class Extent:
    """Points of the outside of some objects in world space, and the lowest and highest corner around them."""

    points: list[Vector]
    low: Vector
    high: Vector

    @property
    def radius(self) -> float:
        """Half of the diagonal, never zero."""
        return max((self.high - self.low).length / 2, 1e-6)


def measure(objects: Iterable[bpy.types.Object]) -> Extent | None:
    """Return the extent of the meshes among `objects`, None where there is none."""
    points: list[Vector] = []
    for item in objects:
        if item.type == "MESH" and item.data.vertices:
            vertices = item.data.vertices
            step = -(-len(vertices) // SAMPLES)
            matrix = item.matrix_world
            points.extend(matrix @ vertices[i].co for i in range(0, len(vertices), step))
            points.extend(matrix @ Vector(corner) for corner in item.bound_box if len(vertices) <= 8)
    if not points:
        return None
    return Extent(points, Vector(map(min, zip(*points, strict=True))), Vector(map(max, zip(*points, strict=True))))


def frame(points: list[Vector], towards: Vector, slope: float) -> Matrix:
    """Return the camera's world matrix: it looks against `towards` and just holds all `points`, centered.

    `slope` is the tangent of half of the square view's angle. Each side of the view is a plane through the camera, so
    that the largest offset of a point along each of the four planes' directions decides.
    """
    backward = towards.normalized()
    right = Vector((0.0, 0.0, 1.0)).cross(backward).normalized()
    up = backward.cross(right)
    center: list[float] = []
    distances: list[float] = []
    for axis in (right, up):
        plus = max(p.dot(backward) + p.dot(axis) / slope for p in points)
        minus = max(p.dot(backward) - p.dot(axis) / slope for p in points)
        center.append(slope * (plus - minus) / 2)
        distances.append((plus + minus) / 2)
    location = right * center[0] + up * center[1] + backward * max(distances)
    matrix = Matrix((right, up, backward)).transposed().to_4x4()
    matrix.translation = location
    return matrix
