# SPDX-License-Identifier: GPL-3.0-or-later
"""Closest points are the closest, whatever the mesh is like."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh import closest
from engine.mesh.closest import Surface
from engine.mesh.morton import morton_order
from engine.progress import Cancelled, Run
from tests.support.shapes import bumpy_sphere


def places(positions: np.ndarray, faces: np.ndarray, hits: closest.Hits) -> np.ndarray:
    """Return the points that `hits` name."""
    at, w = positions[faces[hits.face]], hits.weights
    return at[:, 0] + (at[:, 1] - at[:, 0]) * w[:, :1] + (at[:, 2] - at[:, 0]) * w[:, 1:]


def brute_force(positions: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest of a dense sample of each triangle's points."""
    steps = [(i / 24, j / 24) for i in range(25) for j in range(25 - i)]
    w = np.array(steps)
    a, b, c = (positions[faces[:, k]] for k in range(3))
    sample = (a[:, None] + (b - a)[:, None] * w[:, :1] + (c - a)[:, None] * w[:, 1:]).reshape(-1, 3)
    return np.array([np.sqrt(((sample - point) ** 2).sum(axis=1).min()) for point in points])


@pytest.mark.parametrize("faces_at_once", [1 << 20, 64])
def test_hits_are_closest(faces_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closest, "FACES_AT_ONCE", faces_at_once)
    monkeypatch.setattr(closest, "POINTS_AT_ONCE", 50)
    positions, faces = bumpy_sphere(2)
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (300, 3))
    hits = Surface(positions, faces).closest(points)
    true = brute_force(positions, faces, points)
    found = np.linalg.norm(places(positions, faces, hits) - points, axis=1)
    assert np.abs(found - hits.distance).max() < 1e-6
    assert (found <= true + 1e-6).all()
    assert (found >= true - 0.01).all()


def test_parts_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    positions, faces = bumpy_sphere(3)
    points = np.random.default_rng(1).uniform(-0.6, 0.6, (2000, 3)).astype(np.float32)
    whole = Surface(positions, faces).closest(points, ordered=True)
    monkeypatch.setattr(closest, "FACES_AT_ONCE", 100)
    parts = Surface(positions, faces).closest(points)
    assert np.abs(whole.distance - parts.distance).max() < 1e-7


def test_one_point_on_one_face() -> None:
    positions, faces = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2]])
    hits = Surface(positions, faces).closest(np.array([[0.25, 0.5, 2.0]]))
    assert hits.face.tolist() == [0]
    assert np.allclose(hits.weights, [[0.25, 0.5]])
    assert np.allclose(hits.distance, [2.0])
    assert len(Surface(positions, faces).closest(np.empty((0, 3)))) == 0


def test_unsound_faces_are_never_hit() -> None:
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [np.nan, 0, 5], [0, 0, 5], [0, 0, 5.5], [0, 0, 6]])
    faces = np.array([[3, 4, 5], [4, 5, 6], [0, 1, 2], [4, 4, 6]])
    hits = Surface(positions, faces).closest(np.array([[0.1, 0.1, 4.9], [0.0, 0.0, 5.5]]))
    assert hits.face.tolist() == [2, 2]
    with pytest.raises(EspalierError) as caught:
        Surface(positions, faces[[0, 1, 3]])
    assert caught.value.code == "mesh_empty"


def test_thin_faces_are_exact_and_noise_is_left_out() -> None:
    positions = np.array([[0, 0, 0], [1, 0, 0], [0.5, 1e-5, 0], [2, 0, 0], [2, 1e-9, 0], [2, 0.5, 3e-10]])
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    hits = Surface(positions, faces).closest(np.array([[0.7, 0.3, 0.1], [2.1, 0.2, 0.0]]))
    assert hits.face.tolist() == [0, 0]
    assert np.allclose(places(positions, faces, hits), [[0.7, 6e-6, 0], [1, 0, 0]], atol=1e-6)


def test_morton_order_keeps_neighbors_together() -> None:
    points = np.random.default_rng(3).random((20_000, 3))
    step = np.linalg.norm(np.diff(points[morton_order(points)], axis=0), axis=1)
    assert step.mean() < 0.1 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()
    assert morton_order(np.zeros((4, 3))).tolist() == [0, 1, 2, 3]


def test_cancel_is_heard() -> None:
    run = Run((), lambda progress: None, cancelled=lambda: True)
    positions, faces = bumpy_sphere(1)
    with pytest.raises(Cancelled):
        Surface(positions, faces, run=run)
    with pytest.raises(Cancelled):
        Surface(positions, faces).closest(np.zeros((5, 3)), run)
