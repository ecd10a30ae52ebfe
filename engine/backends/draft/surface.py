# SPDX-License-Identifier: GPL-3.0-or-later
"""The inflated surface: front and back, closed along the outline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .cells import tile
from .outline import MARGIN, Floats, Outline
from .poisson import depth_factors, solve
from .rim import weave


@dataclass(frozen=True, slots=True)
class Front:
    """The half of the surface before the plane of the image; the back is its mirror image.

    `positions` float32 (V, 3), X to the right, Y up, in units of the frame's side about its centre; Z is 0 on the
    first `contour` vertices, which lie on the outline, and positive on all others. `faces` int64 (F, 3).
    """

    positions: Floats
    faces: npt.NDArray[np.int64]
    contour: int


def inflate(outline: Outline, cells: int, turn: Callable[[], None]) -> Front:
    """Return the surface z = sqrt(u) over the inside of `outline`, whose frame is `cells` cells wide.

    `turn` is called between the steps of the work.
    """
    u = solve(outline, turn)
    turn()
    height = u * depth_factors(outline, u)
    turn()
    interior = tile(outline, np.sqrt(height))
    turn()
    rim = weave(outline, interior.cut, rows_for(cells))
    turn()
    nodes, columns = outline.inside.size, outline.inside.shape[1]
    faces = np.concatenate([interior.triangles, rim.triangles])
    used = np.zeros(nodes, bool)
    used[interior.triangles] = True
    used[rim.triangles[rim.triangles < nodes]] = True
    kept = np.flatnonzero(used)
    number = np.empty(nodes + len(rim.points), np.int64)
    number[nodes:] = np.arange(len(rim.points))
    number[kept] = len(rim.points) + np.arange(len(kept))
    flat = height.ravel()
    plane = np.concatenate([rim.points.astype(np.float64), np.column_stack(np.divmod(kept, columns))])
    square = np.concatenate([np.zeros(rim.contour), flat[rim.node] * rim.share, flat[kept]])
    middle = MARGIN + cells / 2.0
    positions = np.column_stack([plane[:, 1] - middle, middle - plane[:, 0], np.sqrt(square)]) / cells
    return Front(positions.astype(np.float32), number[faces], rim.contour)


def rows_for(cells: int) -> int:
    """Return into how many pieces the rim's cells are divided: the steeper its first row, the more."""
    return 2 if cells >= 384 else 3


def close(front: Front) -> tuple[Floats, npt.NDArray[np.uint32], Floats]:
    """Return positions, faces and unit normals of front and back together.

    The back's vertices follow the front's, in the same order and with Z negated, the outline's included: they share
    their place and their normal, but not their texture coordinates.
    """
    count = len(front.positions)
    mirror = np.array([1, 1, -1], np.float32)
    back = front.positions * mirror
    faces = np.concatenate([front.faces, front.faces[:, ::-1] + count]).astype(np.uint32)
    normals = _normals(front)
    return np.concatenate([front.positions, back]), faces, np.concatenate([normals, normals * mirror])


def _normals(front: Front) -> Floats:
    """Return the unit normals (V, 3) of the front, weighted by area; those of the outline lie in the plane."""
    corner = front.positions.astype(np.float64)[front.faces]
    area = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    count = len(front.positions)
    normals = np.stack(
        [np.bincount(front.faces.ravel(), np.repeat(area[:, axis], 3), minlength=count) for axis in range(3)], axis=1
    )
    normals[: front.contour, 2] = 0.0
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.maximum(length, 1e-300), np.float32)
