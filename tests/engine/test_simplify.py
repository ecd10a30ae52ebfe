# SPDX-License-Identifier: GPL-3.0-or-later
"""Simplifying reaches the target, stays near the source, and keeps corners, borders and the manifold."""

from __future__ import annotations

import time

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh import simplify as module
from engine.mesh.remesh import remesh
from engine.mesh.simplify import simplify
from engine.progress import Cancelled, Run
from tests.support.shapes import bumpy_sphere
from tests.support.surfaces import (
    Shape,
    box,
    boxes,
    chair,
    cloth,
    consistent,
    distances,
    edge_counts,
    extra_fans,
    join,
    klein,
    samples,
    sphere,
    turned,
    volume,
)

CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def assert_manifold(faces: np.ndarray) -> None:
    assert edge_counts(faces).max() <= 2
    assert consistent(faces)


@pytest.mark.parametrize("target", [12, 100, 2000])
def test_corners_of_a_cube_stay(target: int) -> None:
    positions, faces = simplify(*box((1, 1, 1), subdivisions=5), target)
    assert len(faces) == pytest.approx(target, rel=0.02)
    gaps = np.linalg.norm(positions[:, None] - CORNERS, axis=2).min(axis=0)
    assert gaps.max() < 1e-4
    assert volume(positions, faces) == pytest.approx(1, rel=1e-5)


@pytest.fixture(scope="module")
def bumpy() -> Shape:
    return bumpy_sphere(7)


@pytest.mark.parametrize("target", [150_000, 20_000, 2_000])
def test_bumpy_sphere(bumpy: Shape, target: int) -> None:
    source = bumpy
    positions, faces = simplify(*source, target)
    assert len(faces) == pytest.approx(target, rel=0.02)
    assert (edge_counts(faces) == 2).all()
    assert_manifold(faces)
    assert extra_fans(faces) == 0
    away = distances(samples(*source), (positions, faces))
    # An ideal error falls with the number of faces: 0.0002 of the diagonal at 20,000.
    assert np.percentile(away, 99) < 0.0012 * 20_000 / target + 1e-5
    assert volume(positions, faces) == pytest.approx(volume(*source), rel=2e-3)


def test_sharp_edges_and_silhouette() -> None:
    source = remesh(*turned(boxes(), 0.4), 128)
    positions, faces = simplify(*source, 500)
    assert len(faces) <= 510
    assert (edge_counts(faces) == 2).all()
    away = distances(samples(*source), (positions, faces))
    assert np.percentile(away, 99) < 0.001
    assert away.max() < 1 / 128
    for axis in range(3):
        assert np.ptp(positions[:, axis]) == pytest.approx(np.ptp(source[0][:, axis]), abs=2.5e-3)


def test_thin_bars_do_not_fall_off() -> None:
    source = remesh(*chair(), 128)
    result = simplify(*source, 1500)
    assert (edge_counts(result[1]) == 2).all()
    assert distances(samples(*source), result).max() < 0.005


@pytest.mark.parametrize("target", [3000, 300])
def test_border_of_a_sheet_stays(target: int) -> None:
    source = cloth()
    positions, faces = simplify(*source, target)
    rim = source[0][(source[0][:, [0, 2]] % 1 == 0).any(axis=1)]
    assert distances(rim, (positions, faces)).max() < (0.002 if target == 3000 else 0.015)
    assert_manifold(faces)


def test_large_open_mesh_keeps_its_border(bumpy: Shape) -> None:
    positions, faces = bumpy
    opened = faces[positions[faces].mean(axis=1)[:, 1] < 0.1]
    result = simplify(positions, opened, 120_000)
    assert len(result[1]) == pytest.approx(120_000, rel=0.02)
    counts = np.unique(np.sort(opened[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0, return_counts=True)
    rim = positions[counts[0][counts[1] == 1]].mean(axis=1)
    assert distances(rim, result).max() < 1e-3


def test_seam_does_not_open() -> None:
    """A mesh that is split along its seams is simplified as one surface."""
    positions, faces = sphere(0.5, 5)
    torn = positions[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    assert (edge_counts(simplify(*torn, 1000)[1]) == 2).all()


def test_target_above_the_source_returns_the_source() -> None:
    positions, faces = sphere(0.5)
    for target in (len(faces), len(faces) + 1, 10**9):
        same = simplify(positions, faces, target)
        assert (same[0] == positions).all()
        assert (same[1] == faces).all()


def test_non_manifold_source_comes_out_manifold() -> None:
    fans = join(box((1, 1, 1), subdivisions=3), box((1, 1, 1), (1, 1, 0), 3), klein())
    assert_manifold(simplify(*fans, 2000)[1])


def test_rough_surface_stays_manifold(bumpy: Shape) -> None:
    """Noise is where the fast library folds faces onto one another."""
    positions, faces = bumpy
    positions = positions * (1 + np.random.default_rng(0).normal(0, 0.003, (len(positions), 1)))
    for target in (110_000, 30_000):
        simplified = simplify(positions, faces, target)[1]
        assert (edge_counts(simplified) == 2).all()
        assert_manifold(simplified)
        assert extra_fans(simplified) == 0
        assert len(simplified) == pytest.approx(target, rel=0.02)


def test_blocks(bumpy: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meshes too large for one call are first thinned block by block, without seams between blocks."""
    monkeypatch.setattr(module, "BLOCK", 100_000)
    source = bumpy
    positions, faces = simplify(*source, 20_000)
    assert (edge_counts(faces) == 2).all()
    assert len(faces) == pytest.approx(20_000, rel=0.02)
    assert np.percentile(distances(samples(*source), (positions, faces)), 99) < 0.001


def test_many_pieces() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (100_000, 1, 3)) + rng.uniform(-1e-3, 1e-3, (100_000, 3, 3))
    positions, faces = simplify(corners.reshape(-1, 3), np.arange(300_000).reshape(-1, 3), 5000)
    assert len(faces)
    assert np.isfinite(positions).all()


@pytest.mark.parametrize(
    ("positions", "faces", "code"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), int), "mesh_empty"),
        (np.full((4, 3), np.nan), np.array([[0, 1, 2], [0, 2, 3]]), "mesh_empty"),
        (np.eye(3), np.array([[0, 1, 3]]), "mesh_invalid"),
        (np.eye(3), np.array([[0, 0, 1], [1, 1, 2]]), "mesh_empty"),
    ],
)
def test_bad_input(positions: np.ndarray, faces: np.ndarray, code: str) -> None:
    with pytest.raises(EspalierError) as caught:
        simplify(positions, faces, 1)
    assert caught.value.code == code


def test_no_area_is_no_hang() -> None:
    faces = np.random.default_rng(0).integers(0, 500, (3000, 3))
    positions, _ = simplify(np.zeros((500, 3)) + np.arange(500)[:, None], faces, 10)
    assert np.isfinite(positions).all()


@pytest.mark.once
def test_cancel_is_heard() -> None:
    """Here in one process; a rebuild simplifies aside, where a cancel waits for nothing (see test_aside)."""
    looks = [time.process_time()]

    def look() -> bool:
        looks.append(time.process_time())  # other programs on the machine do not count
        return False

    source = bumpy_sphere(8)
    simplify(*source, 50_000, run=Run([], lambda progress: None, look))
    assert max(np.diff(looks)) < 2.5
    with pytest.raises(Cancelled):
        simplify(*source, 50_000, run=Run([], lambda progress: None, lambda: True))
