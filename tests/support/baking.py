# SPDX-License-Identifier: GPL-3.0-or-later
"""A source and targets for baking, whose right answer is known."""

from __future__ import annotations

import numpy as np

from engine.mesh.color import to_srgb
from engine.mesh.raster import cover
from engine.mesh.rows import equal_rows, float_bits


def cube_map(positions: np.ndarray, faces: np.ndarray, gutter: float = 0.01) -> np.ndarray:
    """Return UVs (F, 3, 2), V down, of a mesh that every ray from the origin meets once: six charts, 3 by 2.

    Faces go to the side that their center looks at, so charts have jagged seams. `gutter` is the space around each.
    """
    corners = np.asarray(positions, dtype=np.float64)[faces]
    center = corners.sum(axis=1)
    axis = np.argmax(np.abs(center), axis=1)
    row = np.arange(len(faces))
    sign = np.sign(center[row, axis])
    depth = np.abs(corners[row, :, axis])
    u = corners[row, :, (axis + 1) % 3] * sign[:, None] / depth
    v = corners[row, :, (axis + 2) % 3] / depth
    plane = np.stack([np.arctan(u), -np.arctan(v)], axis=-1)
    reach = np.abs(plane).max() / (0.5 - gutter * 3)
    chart = axis * 2 + (sign > 0)
    place = (plane / reach + 0.5 + np.stack([chart % 3, chart // 3], axis=-1)[:, None]) / (3, 2)
    return place.astype(np.float32)


def split_at_seams(
    positions: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions, faces and UVs as a GLB has them: a vertex at a seam is there once for each chart."""
    keys = np.concatenate([faces.reshape(-1, 1).astype(np.uint32), float_bits(corner_uvs.reshape(-1, 2))], axis=1)
    representative, kind = equal_rows(keys)
    split = np.asarray(positions, dtype=np.float32)[faces.reshape(-1)[representative]]
    return split, kind.reshape(-1, 3), corner_uvs.reshape(-1, 2)[representative]


def pattern(points: np.ndarray) -> np.ndarray:
    """Return a linear color (N, 3) for places in space: smooth, and different everywhere."""
    x, y, z = (np.asarray(points, dtype=np.float64) / 0.45).T
    waves = [np.sin(12 * x) * np.cos(9 * y), np.sin(14 * z + 3 * x), np.cos(21 * y * x)]
    return 0.5 + 0.4 * np.stack(waves, axis=1)


def painted(positions: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray, size: int) -> np.ndarray:
    """Return the texture uint8 (size, size, 3) that shows `pattern` on a mesh; the background is bright magenta."""
    found = cover(corner_uvs.reshape(-1, 2), np.arange(len(faces) * 3).reshape(-1, 3), size, border=2)
    corners = np.asarray(positions, dtype=np.float64)[faces]
    image = np.empty((size * size, 3), dtype=np.uint8)
    image[:] = (255, 0, 255)
    for start in range(0, len(found), 1 << 18):  # no more memory than what is measured with it
        at, w = corners[found.face[start : start + (1 << 18)]], found.weights[start : start + (1 << 18)]
        points = at[:, 0] + (at[:, 1] - at[:, 0]) * w[:, :1] + (at[:, 2] - at[:, 0]) * w[:, 1:]
        image[found.texel[start : start + (1 << 18)]] = np.round(to_srgb(pattern(points)) * 255)
    return image.reshape(size, size, 3)


def surface_points(positions: np.ndarray, faces: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return `count` places spread evenly over a surface: points (N, 3), faces (N,), weights (N, 2)."""
    random = np.random.default_rng(seed)
    corners = np.asarray(positions, dtype=np.float64)[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = random.choice(len(faces), size=count, p=area / area.sum())
    one, two = np.sqrt(random.random(count)), random.random(count)
    weights = np.stack([one * (1 - two), one * two], axis=1)
    at = corners[face]
    points = at[:, 0] + (at[:, 1] - at[:, 0]) * weights[:, :1] + (at[:, 2] - at[:, 0]) * weights[:, 1:]
    return points, face, weights
