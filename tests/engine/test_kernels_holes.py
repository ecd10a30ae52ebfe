# SPDX-License-Identifier: GPL-3.0-or-later
"""Small holes are closed, large ones stay, and what is no hole is left alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here; it is in the environment torch-3.11")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from engine.backends.trellis2.kernels.cumesh import CuMesh  # noqa: E402
from engine.backends.trellis2.kernels.holes import find_boundary  # noqa: E402


def plane(rows: int, columns: int):
    """Return a flat grid of unit squares, each cut into two triangles, all seen from +Z."""
    y, x = torch.meshgrid(torch.arange(rows + 1), torch.arange(columns + 1), indexing="ij")
    vertices = torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(-1, 3).float()
    a = (torch.arange(rows)[:, None] * (columns + 1) + torch.arange(columns)).reshape(-1)
    b, c, d = a + 1, a + columns + 2, a + columns + 1
    faces = torch.stack([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)], 1).reshape(-1, 3)
    return vertices, faces.int()


def without(faces, *squares: int):
    keep = torch.ones(len(faces), dtype=torch.bool)
    for square in squares:
        keep[2 * square : 2 * square + 2] = False
    return faces[keep]


def filled(vertices, faces, perimeter: float):
    mesh = CuMesh()
    mesh.init(vertices, faces)
    mesh.fill_holes(max_hole_perimeter=perimeter)
    return mesh


def directed_edges(faces) -> list[tuple[int, int]]:
    return [(face[i], face[(i + 1) % 3]) for face in faces.tolist() for i in range(3)]


def test_a_missing_square_is_closed_with_a_fan() -> None:
    vertices, faces = plane(3, 3)
    mesh = CuMesh()
    mesh.init(vertices, without(faces, 4))
    assert (mesh.num_vertices, mesh.num_faces, mesh.num_boundaries, mesh.num_boundary_loops) == (16, 16, 16, 2)
    mesh.fill_holes(max_hole_perimeter=4.1)
    closed, around = mesh.read()
    assert closed[16:].tolist() == [[1.5, 1.5, 0.0]]
    assert len(around) == 20
    assert (mesh.num_boundaries, mesh.num_boundary_loops) == (12, 1)
    edges = directed_edges(around)
    assert len(set(edges)) == len(edges), "two faces run along an edge in one direction"


def test_a_hole_is_left_open_from_its_perimeter_on() -> None:
    vertices, faces = plane(3, 3)
    faces = without(faces, 4)
    assert filled(vertices, faces, 4.0).num_faces == 16
    assert filled(vertices, faces, 4.001).num_faces == 20
    assert filled(vertices, faces, 100.0).num_boundaries == 0


def test_holes_that_touch_at_a_point_are_closed_each() -> None:
    vertices, faces = plane(4, 4)
    mesh = filled(vertices, without(faces, 5, 10), 4.1)
    assert mesh.num_faces == 28 + 8
    assert mesh.num_boundary_loops == 1
    assert sorted(mesh.read()[0][25:].tolist()) == [[1.5, 1.5, 0], [2.5, 2.5, 0]]


def test_a_seam_that_ends_at_a_fin_is_no_loop() -> None:
    vertices, faces = plane(1, 1)
    vertices = torch.cat([vertices, torch.tensor([[0.5, 0.5, 1.0]])])
    fin = torch.tensor([[0, 3, 4]], dtype=torch.int32)
    boundary = find_boundary(torch.cat([faces, fin]), 5)
    assert len(boundary.edges) == 6
    assert boundary.loops == 0
    assert filled(vertices, torch.cat([faces, fin]), 100.0).num_faces == 3


def test_a_rim_that_other_surfaces_cross_is_no_loop() -> None:
    vertices, faces = plane(5, 5)
    faces = without(faces, 12)
    crossing, apex = [], len(vertices)
    for rim, beyond in ((14, 8), (21, 27)):
        crossing += [[rim, beyond, apex], [beyond, rim, apex + 1], [rim, apex, apex + 1], [beyond, apex + 1, apex]]
        apex += 2
    vertices = torch.cat([vertices, torch.rand(4, 3, generator=torch.manual_seed(1)) + 1])
    assert find_boundary(faces, len(vertices)).loops == 2
    crossed = torch.cat([faces, torch.tensor(crossing, dtype=torch.int32)])
    assert find_boundary(crossed, len(vertices)).loops == 1
    assert filled(vertices, crossed, 4.1).num_faces == len(crossed)


@settings(max_examples=40)
@given(st.integers(3, 9), st.integers(3, 9), st.data())
def test_whatever_is_missing_every_loop_can_be_closed(rows, columns, data) -> None:
    vertices, faces = plane(rows, columns)
    gone = data.draw(st.sets(st.integers(0, 2 * rows * columns - 1), max_size=rows * columns))
    keep = torch.ones(len(faces), dtype=torch.bool)
    keep[list(gone)] = False
    faces = faces[keep]
    boundary = find_boundary(faces, len(vertices))
    counts = torch.tensor(directed_edges(faces)).sort(dim=1).values.unique(dim=0, return_counts=True)[1]
    assert len(boundary.edges) == int((counts == 1).sum())
    mesh = filled(vertices, faces, 1e9)
    if bool((boundary.loop >= 0).all()):
        assert mesh.num_boundaries == 0
    else:
        assert mesh.num_boundaries >= int((boundary.loop < 0).sum())
    assert mesh.num_faces == len(faces) + int((boundary.loop >= 0).sum())
    assert torch.equal(mesh.read()[1][: len(faces)], faces)


def test_a_closed_mesh_and_an_empty_one_stay_as_they_are() -> None:
    tetrahedron = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], dtype=torch.int32)
    for vertices, faces in ((torch.eye(4, 3), tetrahedron), (torch.zeros(0, 3), tetrahedron[:0])):
        mesh = filled(vertices, faces, 100.0)
        assert mesh.num_boundaries == mesh.num_boundary_loops == 0
        assert torch.equal(mesh.read()[0], vertices)
        assert torch.equal(mesh.read()[1], faces)


def test_a_long_chain_is_one_loop() -> None:
    vertices, faces = plane(1, 3000)
    assert find_boundary(faces, len(vertices)).loops == 1


def test_one_triangle_is_a_loop() -> None:
    vertices, faces = torch.eye(3), torch.tensor([[0, 1, 2]], dtype=torch.int32)
    mesh = filled(vertices, faces, 10.0)
    assert mesh.num_boundaries == 0
    assert mesh.num_faces == 4


def test_what_is_no_mesh_is_refused() -> None:
    with pytest.raises(ValueError, match="no mesh"):
        CuMesh().init(torch.zeros(3, 2), torch.zeros(1, 3, dtype=torch.int32))
