# SPDX-License-Identifier: GPL-3.0-or-later
"""Closed surfaces without texture coordinates, smooth and noisy, as unwrapping meets them."""

from __future__ import annotations

import numpy as np

from tests.support.meshes import icosphere


def bumpy_icosphere(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mesh A: an icosphere with large soft bumps and small ones; 8 subdivisions give 1,310,720 faces."""
    sphere, faces = icosphere(subdivisions)
    return sphere * bumps(sphere)[:, None] * 0.45, faces.astype(np.int32)


def bumps(sphere: np.ndarray) -> np.ndarray:
    """Return the distance of mesh A from the centre in each direction, before it is scaled."""
    x, y, z = sphere.T
    return 1 + 0.08 * np.sin(9 * x) * np.sin(11 * y) * np.sin(7 * z) + 0.02 * np.sin(40 * x) * np.cos(37 * y)


def bumpy_geodesic(faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the surface of mesh A with about `faces` faces: the icosahedron's faces divided evenly, then rounded."""
    frequency = max(round((faces / 20) ** 0.5), 1)
    corners, ico = icosphere(0)
    i, j = np.meshgrid(np.arange(frequency + 1), np.arange(frequency + 1), indexing="ij")
    inside = i + j <= frequency
    number = np.full(i.shape, -1)
    number[inside] = np.arange(int(inside.sum()))
    i, j = i[inside], j[inside]
    weights = np.stack((frequency - i - j, i, j), axis=1) / frequency
    points = np.einsum("wk,fkd->fwd", weights, corners[ico])
    up = i + j < frequency
    a, b, c = number[i[up], j[up]], number[i[up] + 1, j[up]], number[i[up], j[up] + 1]
    down = i + j < frequency - 1
    d = (number[i[down] + 1, j[down]], number[i[down] + 1, j[down] + 1], number[i[down], j[down] + 1])
    triangles = np.concatenate((np.stack((a, b, c), axis=1), np.stack(d, axis=1)))
    triangles = (triangles[None] + np.arange(20)[:, None, None] * len(i)).reshape(-1, 3)
    sphere = points.reshape(-1, 3)
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    _, first, same = np.unique(np.round(sphere, 9), axis=0, return_index=True, return_inverse=True)
    sphere = sphere[first]
    return sphere * bumps(sphere)[:, None] * 0.45, same.reshape(-1)[triangles].astype(np.int32)


def rough_sphere(subdivisions: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return mesh A with each vertex moved at random by `noise` mean edge lengths: many faces look the wrong way."""
    positions, faces = bumpy_icosphere(subdivisions)
    edge = np.linalg.norm(positions[faces[:, 0]] - positions[faces[:, 1]], axis=1).mean()
    return positions + np.random.default_rng(seed).standard_normal(positions.shape) * noise * edge, faces


def noisy_field(resolution: int, noise: float, specks: int = 0, seed: int = 0) -> np.ndarray:
    """Return float32 (resolution, resolution, resolution): mesh A's distance in voxels, with noise of `noise` voxels
    and with floating specks; its zero is what a scanner or a generator leaves.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    axis = np.linspace(-0.62, 0.62, resolution, dtype=np.float32)
    field = gaussian_filter(rng.standard_normal((resolution,) * 3, dtype=np.float32), 1.0)
    field *= np.float32(noise / field.std())
    y, z = np.meshgrid(axis, axis, indexing="ij")
    for x, layer in zip(axis, field, strict=True):  # layer by layer: the whole grid would take gigabytes
        point = np.stack((np.full_like(y, x), y, z), axis=-1).reshape(-1, 3)
        length = np.linalg.norm(point, axis=1) + np.float32(1e-9)
        layer += ((length - 0.45 * bumps(point / length[:, None])) / (axis[1] - axis[0])).reshape(layer.shape)
    near = np.arange(-4, 5)
    ball = np.sqrt(near[:, None, None] ** 2 + near[:, None] ** 2 + near**2).astype(np.float32)
    for _ in range(specks):
        at = rng.integers(10, resolution - 10, 3)
        part = tuple(slice(k - 4, k + 5) for k in at)
        field[part] = np.minimum(field[part], ball - np.float32(rng.uniform(1.2, 3.5)))
    return field
