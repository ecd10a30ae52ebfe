# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasterizer covers each texel center exactly once, knows where on the face it is, and borders by distance."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from engine.mesh import raster
from engine.mesh.raster import chart_edges, cover, rasterize
from engine.progress import Cancelled, Run

COORDINATE = st.integers(-20, 84).map(lambda n: n / 4)  # many texel centers lie exactly on edges and corners


def strictly_inside(triangle: np.ndarray, x: float, y: float) -> bool:
    """Tell exactly whether a point lies within a triangle and on none of its edges."""
    p = [(Fraction(float(a)), Fraction(float(b))) for a, b in triangle]
    q = (Fraction(x), Fraction(y))
    turns = []
    for k in range(3):
        (ax, ay), (bx, by) = p[k], p[(k + 1) % 3]
        turns.append((bx - ax) * (q[1] - ay) - (by - ay) * (q[0] - ax))
    return all(turn > 0 for turn in turns) or all(turn < 0 for turn in turns)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=3))
def test_a_triangle_covers_the_centers_within_it(points: list[tuple[float, float]]) -> None:
    triangle = np.array(points)
    found = set(rasterize(triangle[None], 16, 12).texel.tolist())
    for row in range(12):
        for column in range(16):
            if strictly_inside(triangle, column + 0.5, row + 0.5):
                assert row * 16 + column in found
    low, high = triangle.min(axis=0), triangle.max(axis=0)
    for texel in found:
        x, y = texel % 16 + 0.5, texel // 16 + 0.5
        assert low[0] <= x <= high[0]
        assert low[1] <= y <= high[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_a_triangulation_covers_every_center_once(seed: int, on_grid: bool) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform(-2, 26, (40, 2))
    if on_grid:
        points = np.unique(np.round(points * 2) / 2, axis=0)  # edges that run through centers, and corners on them
    points = np.concatenate([points, [[-3, -3], [30, -3], [-3, 30], [30, 30]]])
    faces = Delaunay(points).simplices
    turned = random.random(len(faces)) < 0.5
    faces[turned] = faces[turned][:, ::-1]
    found = rasterize(points[faces], 24, 20)
    assert np.array_equal(np.sort(found.texel), np.arange(24 * 20))


def test_weights_lead_back_to_the_center() -> None:
    random = np.random.default_rng(1)
    corners = random.uniform(0, 64, (200, 3, 2))
    found = rasterize(corners, 64, 64)
    at, w = corners[found.face], found.weights.astype(float)
    place = at[:, 0] + (at[:, 1] - at[:, 0]) * w[:, :1] + (at[:, 2] - at[:, 0]) * w[:, 1:]
    center = np.stack([found.texel % 64 + 0.5, found.texel // 64 + 0.5], axis=1)
    assert np.abs(place - center).max() < 1e-3
    assert w.min() > -1e-4
    assert w.sum(axis=1).max() < 1 + 1e-4


def test_nothing_comes_of_triangles_without_area_or_numbers() -> None:
    corners = np.array(
        [
            [[1, 1], [5, 5], [9, 9]],
            [[2, 3], [2, 3], [2, 3]],
            [[np.nan, 1], [5, 5], [9, 0]],
            [[np.inf, 1], [5, 5], [9, 0]],
            [[40, 40], [60, 40], [50, 60]],
        ]
    )
    assert len(rasterize(corners, 16, 16)) == 0
    assert len(rasterize(np.empty((0, 3, 2)), 16, 16)) == 0


def test_huge_triangles_are_cut_to_the_image() -> None:
    found = rasterize(np.array([[[-1e9, -1e9], [1e9, -1e9], [0, 1e9]]]), 8, 8)
    assert np.array_equal(np.sort(found.texel), np.arange(64))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.random.default_rng(2).uniform(0, 100, (50, 3, 2))
    whole = rasterize(corners, 100, 100)
    monkeypatch.setattr(raster, "ROWS_AT_ONCE", 37)
    monkeypatch.setattr(raster, "TEXELS_AT_ONCE", 101)
    parts = rasterize(corners, 100, 100)
    for name in ("texel", "face", "weights"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a tilted square of two triangles and a separate sliver that holds no texel center."""
    uvs = np.array([[10.2, 8.3], [40.7, 12.1], [36.3, 44.4], [6.1, 39.2], [50.1, 5.0], [50.2, 30.0], [50.15, 55.0]])
    return uvs / size, np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5]])


def distance_to_faces(uvs: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """Return (size, size): how far each center lies outside the triangles."""
    y, x = np.mgrid[:size, :size] + 0.5
    best = np.full((size, size), np.inf)
    for face in faces:
        p = uvs[face] * size
        turns = []
        for k in range(3):
            a, b = p[k], p[(k + 1) % 3]
            side = b - a
            t = np.clip(((x - a[0]) * side[0] + (y - a[1]) * side[1]) / (side @ side), 0, 1)
            best = np.minimum(best, np.hypot(x - a[0] - t * side[0], y - a[1] - t * side[1]))
            turns.append(side[0] * (y - a[1]) - side[1] * (x - a[0]))
        inside = (np.min(turns, axis=0) > 0) | (np.max(turns, axis=0) < 0)
        best[inside] = 0
    return best


@pytest.mark.parametrize("border", [0.5, 1.0, 3.0])
def test_the_border_is_what_lies_within_its_distance(border: float) -> None:
    uvs, faces = grid(64)
    found = cover(uvs, faces, 64, border)
    covered = np.zeros(64 * 64, dtype=bool)
    covered[found.texel] = True
    assert len(np.unique(found.texel)) == len(found)
    expected = distance_to_faces(uvs, faces, 64).reshape(-1)
    radius = np.sqrt(2) * border
    assert covered[expected < radius - 1e-9].all()
    assert not covered[expected > radius + 1e-9].any()
    assert (found.face == 2).any()  # the sliver has texels though it covers no center


def test_border_weights_continue_the_face() -> None:
    uvs, faces = grid(64)
    found = cover(uvs, faces[:2], 64, 1.0)
    at, w = uvs[faces[found.face]] * 64, found.weights.astype(float)
    place = at[:, 0] + (at[:, 1] - at[:, 0]) * w[:, :1] + (at[:, 2] - at[:, 0]) * w[:, 1:]
    center = np.stack([found.texel % 64 + 0.5, found.texel // 64 + 0.5], axis=1)
    assert np.abs(place - center).max() < 1e-3
    sliver = cover(uvs, faces[2:], 64, 1.0)
    assert np.abs(sliver.weights).max() <= 2 + 1e-5  # a thin face is not continued by many times its size


def test_edges_between_faces_of_a_chart_have_no_border() -> None:
    uvs, faces = grid(64)
    corners = chart_edges(uvs * 64, faces)
    assert sorted(corners.tolist()) == [0, 1, 4, 5, 6, 7, 8]
    repeated = uvs[faces].reshape(-1, 2)  # the same, with a UV of its own for each corner
    assert sorted(chart_edges(repeated * 64, np.arange(9).reshape(3, 3)).tolist()) == [0, 1, 4, 5, 6, 7, 8]


def test_overlapping_faces_share_no_texel() -> None:
    uvs = np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9], [0.2, 0.2], [0.8, 0.2], [0.5, 0.8]])
    found = cover(uvs, np.array([[0, 1, 2], [3, 4, 5]]), 32, 0)
    assert len(np.unique(found.texel)) == len(found)
    assert {0, 1} == set(found.face.tolist())


def test_cancel_is_heard() -> None:
    run = Run((), lambda progress: None, cancelled=lambda: True)
    with pytest.raises(Cancelled):
        cover(*grid(64), 64, 1.0, run)
