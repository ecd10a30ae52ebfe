# SPDX-License-Identifier: GPL-3.0-or-later
"""Folds are drawn out, and everything else stays where it is."""

from __future__ import annotations

import numpy as np

from engine.mesh.normals import face_crosses
from engine.mesh.unfold import unfold
from tests.support.shapes import icosphere


def test_a_vertex_pushed_over_its_neighbors_comes_back() -> None:
    positions, faces = icosphere(4)
    folded = positions.copy()
    ring = np.unique(faces[(faces == 700).any(axis=1)])
    folded[700] += 2.2 * (positions[ring[ring != 700][0]] - positions[700])
    assert (np.einsum("ij,ij->i", face_crosses(folded, faces), folded[faces[:, 0]]) < 0).any()
    points, left = unfold(folded, faces)
    assert left == 0
    assert (np.einsum("ij,ij->i", face_crosses(points, faces), points[faces].mean(axis=1)) > 0).all()
    still = np.ones(len(points), np.bool_)
    still[np.unique(faces[np.isin(faces, ring).any(axis=1)])] = False
    assert (points[still] == folded[still]).all()


def test_a_thin_sheet_of_two_sides_is_not_a_fold() -> None:
    """A square of two sides, joined along its border: each border edge is bent back, and each face has at most one."""
    count = 8
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(count + 1), np.arange(count + 1)))
    border = (x == 0) | (y == 0) | (x == count) | (y == count)
    top = np.stack([x, y, np.where(border, 0.0, 0.01)], axis=1)
    cells = np.array([row * (count + 1) + column for row in range(count) for column in range(count)])
    up = np.concatenate(
        [
            np.stack([cells, cells + 1, cells + count + 2], axis=1),
            np.stack([cells, cells + count + 2, cells + count + 1], axis=1),
        ]
    )
    lower = np.where(border, np.arange(len(top)), np.arange(len(top)) + len(top))
    positions = np.concatenate([top, top * (1, 1, -1)])
    faces = np.concatenate([up, lower[up][:, ::-1]])
    corners = np.isin(faces, [0, count, len(top) - 1, len(top) - 1 - count]).any(axis=1)
    points, _ = unfold(positions, faces)
    inner = np.setdiff1d(np.arange(len(positions)), np.unique(faces[corners]))
    assert (points[inner] == positions[inner]).all()
