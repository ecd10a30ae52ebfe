# SPDX-License-Identifier: GPL-3.0-or-later
"""Welding, edges and hard edges against plain definitions of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.mesh import weld as module
from engine.mesh.edges import find_edges, find_hard_edges
from engine.mesh.weld import Welded, first_equal_row, weld
from tests.support.meshes import bumpy_sphere, cube, icosphere

COORDINATE = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1e-40, 3e38])
POINTS = st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE), min_size=1, max_size=12)


def plain_weld(
    positions: np.ndarray, faces: np.ndarray
) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]], list[int]]:
    """Return the vertices, faces and kept face numbers that the definition asks for, one at a time."""
    points = [tuple(float(x) + 0.0 for x in row) for row in positions]
    seen: set[frozenset[tuple[float, ...]]] = set()
    kept = []
    for number, face in enumerate(faces):
        corners = frozenset(points[i] for i in face)
        if len(corners) == 3 and corners not in seen:
            seen.add(corners)
            kept.append(number)
    used = {points[i] for number in kept for i in faces[number]}
    vertices = [point for point in dict.fromkeys(points) if point in used]
    index = {point: i for i, point in enumerate(vertices)}
    return vertices, [tuple(index[points[i]] for i in faces[number]) for number in kept], kept


def assert_as_defined(positions: np.ndarray, faces: np.ndarray) -> Welded:
    result = weld(positions, faces)
    vertices, corners, kept = plain_weld(positions, faces)
    assert [tuple(map(float, row)) for row in result.positions] == vertices
    assert [tuple(row) for row in result.corner_vert] == corners
    np.testing.assert_array_equal(result.corner_source, faces[kept])
    assert result.degenerate + result.duplicate == len(faces) - len(kept)
    return result


@settings(max_examples=300, deadline=None, derandomize=True)
@given(points=POINTS, data=st.data())
def test_weld_is_as_defined(points: list[tuple[float, float, float]], data: st.DataObject) -> None:
    index = st.integers(0, len(points) - 1)
    faces = data.draw(st.lists(st.tuples(index, index, index), max_size=20))
    assert_as_defined(np.array(points, np.float32), np.array(faces, np.uint32).reshape(-1, 3))


def test_rows_that_share_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adversary can make hashes collide; the result must not change."""
    generator = np.random.default_rng(1)
    rows = generator.integers(0, 4, (500, 3)).astype(np.uint32)
    expected = [next(j for j in range(len(rows)) if (rows[j] == rows[i]).all()) for i in range(len(rows))]
    np.testing.assert_array_equal(first_equal_row(rows), expected)
    for share in (1, 2, 7):
        monkeypatch.setattr(module, "_hash_rows", lambda r, share=share: (r.sum(axis=1) % share).astype(np.uint64))
        np.testing.assert_array_equal(first_equal_row(rows), expected)


def test_a_seam_closes() -> None:
    positions, faces, _, _ = bumpy_sphere(4)
    directions, _ = icosphere(4)
    assert len(positions) > len(directions)
    result = assert_as_defined(positions, faces)
    assert len(result.positions) == len(directions)
    assert (result.degenerate, result.duplicate) == (0, 0)
    edges, _ = find_edges(result.corner_vert)
    assert len(result.positions) - len(edges) + len(faces) == 2, "a closed sphere has the Euler characteristic 2"


def test_the_same_input_gives_the_same_bytes() -> None:
    positions, faces, _, _ = bumpy_sphere(5)
    first, second = weld(positions, faces), weld(positions.copy(order="F"), faces.copy())
    assert first.positions.tobytes() == second.positions.tobytes()
    assert first.corner_vert.tobytes() == second.corner_vert.tobytes()


def test_faces_of_opposite_sides_are_duplicates() -> None:
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 0, 1]], np.uint32)
    result = weld(positions, faces)
    assert (len(result.corner_vert), result.duplicate, result.degenerate) == (1, 2, 1)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.permutations(range(6)).map(lambda p: tuple(p[:3])), min_size=1, max_size=20))
def test_edges_are_as_defined(faces: list[tuple[int, ...]]) -> None:
    corner_vert = np.array(faces, np.int32)
    edges, corner_edge = find_edges(corner_vert)
    expected = sorted({tuple(sorted((face[i], face[(i + 1) % 3]))) for face in faces for i in range(3)})
    assert [tuple(edge) for edge in edges] == expected
    for face, row in zip(faces, corner_edge, strict=True):
        for i in range(3):
            assert set(edges[row[i]]) == {face[i], face[(i + 1) % 3]}
    assert (edges.dtype, corner_edge.dtype, corner_edge.shape) == (np.int32, np.int32, corner_vert.shape)


def hard_edges(positions: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the welded ends (n, 2, 3) of the hard edges, and which edges are hard."""
    result = weld(positions, faces)
    edges, corner_edge = find_edges(result.corner_vert)
    hard = find_hard_edges(edges, result.corner_vert, corner_edge, result.corner_source, normals)
    return result.positions[edges[hard]], hard


def test_a_cube_has_twelve_hard_edges() -> None:
    positions, faces, normals, _ = cube()
    ends, hard = hard_edges(positions, faces, normals)
    assert (len(ends), len(hard)) == (12, 18), "the diagonals of the six sides are soft"
    assert (np.abs(ends[:, 0] - ends[:, 1]).sum(axis=1) == 1).all()


def test_a_face_turned_round_does_not_confuse_the_corners() -> None:
    positions, faces, normals, _ = cube()
    faces[3] = faces[3][::-1]
    assert hard_edges(positions, faces, normals)[1].sum() == 12


def test_a_seam_of_equal_normals_is_soft() -> None:
    positions, faces, normals, _ = bumpy_sphere(4)
    assert not hard_edges(positions, faces, normals)[1].any()


def test_absent_normals_and_borders_are_soft() -> None:
    positions, faces, normals, _ = cube()
    assert not hard_edges(positions, faces, np.zeros_like(normals))[1].any()
    assert not hard_edges(positions, faces[:1], normals)[1].any()


@pytest.mark.parametrize(("degrees", "hard"), [(1.0, False), (4.0, True)])
def test_small_differences_are_soft(degrees: float, hard: bool) -> None:
    angle = np.radians(degrees)
    positions = np.array([[0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    faces = np.array([[0, 1, 2], [4, 3, 5]], np.uint32)
    normals = np.array([[0, 0, 1]] * 3 + [[np.sin(angle), 0, np.cos(angle)]] * 3, np.float32)
    assert hard_edges(positions, faces, normals)[1].any() == hard
