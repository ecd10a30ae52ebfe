# SPDX-License-Identifier: GPL-3.0-or-later
"""Tangents agree with Blender's MikkTSpace.

`tests/data/tangents.npz` holds what `mesh.calc_tangents` of Blender 4.5 gave for seven meshes; `tests/blender` asks it
again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.mesh.normals import vertex_normals
from engine.mesh.tangents import corner_tangents
from tests.support.shapes import bumpy_sphere

REFERENCE = Path(__file__).resolve().parents[1] / "data" / "tangents.npz"
CASES = ("seams", "mirrored", "flipped_faces", "collapsed", "unrelated", "lost_side", "four_at_an_edge")


@pytest.mark.parametrize("case", CASES)
def test_as_blender_has_them(case: str) -> None:
    with np.load(REFERENCE) as data:
        given = {key.split("/")[1]: data[key] for key in data.files if key.startswith(f"{case}/")}
    tangents, signs = corner_tangents(given["positions"], given["faces"], given["normals"], given["uvs"])
    assert np.array_equal(signs, given["signs"])
    assert np.abs(tangents - given["tangents"]).max() < 1e-5


def test_the_order_of_faces_does_not_matter() -> None:
    positions, faces = bumpy_sphere(2)
    normals = vertex_normals(positions, faces)[faces]
    uvs = np.random.default_rng(0).random((len(positions), 2))[faces]
    order = np.random.default_rng(1).permutation(len(faces))
    tangents, signs = corner_tangents(positions, faces, normals, uvs)
    again, signs_again = corner_tangents(positions, faces[order], normals[order], uvs[order])
    assert np.abs(tangents[order] - again).max() < 1e-5
    assert np.array_equal(signs[order], signs_again)


def test_a_plane() -> None:
    positions = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    normals = np.broadcast_to(np.array([0, 0, 1.0]), (2, 3, 3))
    uvs = positions[faces][..., :2] / 2
    tangents, signs = corner_tangents(positions, faces, normals, uvs)
    assert np.allclose(tangents, [1, 0, 0])
    assert (signs == 1).all()
    tangents, signs = corner_tangents(positions, faces, normals, uvs * (-1, 1))
    assert np.allclose(tangents, [-1, 0, 0])
    assert (signs == -1).all()


def test_corners_without_a_tangent_have_the_fallback() -> None:
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    tangents, signs = corner_tangents(
        positions, np.array([[0, 1, 2]]), np.full((1, 3, 3), (0, 0, 1.0)), np.zeros((1, 3, 2))
    )
    assert np.array_equal(tangents, np.full((1, 3, 3), (1, 0, 0)))
    assert (signs == -1).all()


def test_smooth_normals_do_not_see_seams() -> None:
    positions, faces = bumpy_sphere(3)
    whole = vertex_normals(positions, faces)
    split = vertex_normals(positions[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3))
    assert np.abs(split.reshape(-1, 3, 3) - whole[faces]).max() < 1e-6
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    lonely = vertex_normals(np.zeros((2, 3)), np.array([[0, 1, 0]]))
    assert lonely.tolist() == [[0, 0, 1], [0, 0, 1]]
