# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes to test and measure with."""

from __future__ import annotations

import numpy as np


def icosphere(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit positions float64 (V, 3) and faces int32 (20 * 4**subdivisions, 3), wound outwards."""
    t = (1 + 5**0.5) / 2
    octants = [(-1, t), (1, t), (-1, -t), (1, -t)]
    positions = np.concatenate([np.roll([(x, y, 0) for x, y in octants], axis, axis=1) for axis in range(3)])
    positions = positions / np.sqrt(1 + t * t)
    fan = "0 11 5 0 5 1 0 1 7 0 7 10 0 10 11 1 5 9 5 11 4 11 10 2 10 7 6 7 1 8"
    fan += " 3 9 4 3 4 2 3 2 6 3 6 8 3 8 9 4 9 5 2 4 11 6 2 10 8 6 7 9 8 1"
    faces = np.array(fan.split(), dtype=np.int64).reshape(-1, 3)
    for _ in range(subdivisions):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        keys, edge = np.unique(edges[:, 0] * len(positions) + edges[:, 1], return_inverse=True)
        middle = positions[keys // len(positions)] + positions[keys % len(positions)]
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        ab, bc, ca = edge.reshape(3, -1) + len(positions)
        a, b, c = faces.T
        faces = np.concatenate([np.stack(f, 1) for f in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
        positions = np.concatenate([positions, middle])
    return positions, faces.astype(np.int32)


def bumpy_sphere(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mesh A: an icosphere with large soft bumps and small ones; 8 subdivisions give 1,310,720 faces."""
    sphere, faces = icosphere(subdivisions)
    x, y, z = sphere.T
    radius = 1 + 0.08 * np.sin(9 * x) * np.sin(11 * y) * np.sin(7 * z) + 0.02 * np.sin(40 * x) * np.cos(37 * y)
    return sphere * radius[:, None] * 0.45, faces
