# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwrapping keeps what it promises, measured by an independent rasterizer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.mesh.charts import ChartOptions
from engine.mesh.unwrap import Unwrapped, unwrap
from tests.support.atlas import inspect, rasterize
from tests.support.bumpy import bumpy_geodesic, bumpy_icosphere, rough_sphere
from tests.support.meshes import icosphere

Mesh = tuple[np.ndarray, np.ndarray]


def grid(columns: int, rows: int, wrap: tuple[bool, bool], twisted: bool = False) -> np.ndarray:
    """Return the faces of a grid of vertices, numbered row by row, closed in either direction."""
    faces = []
    for i in range(columns if wrap[0] else columns - 1):
        for j in range(rows if wrap[1] else rows - 1):
            last = twisted and i == columns - 1
            k, m = (rows - 1 - j, rows - 2 - j) if last else (j, (j + 1) % rows)
            a, b = i * rows + j, (i + 1) % columns * rows + k
            d, c = i * rows + (j + 1) % rows, (i + 1) % columns * rows + m
            faces += [(a, b, c), (a, c, d)]
    return np.array(faces)


def torus() -> Mesh:
    u, v = np.meshgrid(np.arange(60) * np.pi / 30, np.arange(30) * np.pi / 15, indexing="ij")
    r = 1 + 0.3 * np.cos(v)
    return np.stack((r * np.cos(u), r * np.sin(u), 0.3 * np.sin(v)), axis=-1).reshape(-1, 3), grid(60, 30, (True, True))


def tube() -> Mesh:
    u, z = np.meshgrid(np.arange(40) * np.pi / 20, np.linspace(0, 3, 30), indexing="ij")
    return np.stack((np.cos(u), np.sin(u), z), axis=-1).reshape(-1, 3), grid(40, 30, (True, False))


def moebius() -> Mesh:
    u, s = np.meshgrid(np.arange(80) * np.pi / 40, np.linspace(-0.3, 0.3, 5), indexing="ij")
    r = 1 + s * np.cos(u / 2)
    points = np.stack((r * np.cos(u), r * np.sin(u), s * np.sin(u / 2)), axis=-1).reshape(-1, 3)
    return points, grid(80, 5, (True, False), twisted=True)


def rough_torus() -> Mesh:
    """A rough torus: handles and noise together."""
    positions, faces = torus()
    return positions + np.random.default_rng(5).standard_normal(positions.shape) * 0.02, faces


def cube() -> Mesh:
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    faces = "0 1 3 0 3 2 4 6 7 4 7 5 0 4 5 0 5 1 2 3 7 2 7 6 0 2 6 0 6 4 1 5 7 1 7 3"
    return corners, np.array(faces.split(), dtype=np.int64).reshape(-1, 3)


SHAPES: dict[str, tuple[Callable[[], Mesh], float]] = {
    "sphere": (lambda: icosphere(4), 0.5),
    "bumpy": (lambda: bumpy_geodesic(20_000), 0.58),
    "rough": (lambda: rough_sphere(5, 0.25), 0.5),
    "very rough": (lambda: rough_sphere(4, 0.6), 0.2),
    "torus": (torus, 0.55),
    "rough torus": (rough_torus, 0.45),
    "tube": (tube, 0.4),
    "moebius": (moebius, 0.35),
    "cube": (cube, 0.5),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("size", "gutter"), [(1024, 2), (512, 4)])
def test_nothing_overlaps_flips_or_crowds(name: str, size: int, gutter: int) -> None:
    make, use = SHAPES[name]
    positions, faces = make()
    result = unwrap(positions, faces, texture_size=size, gutter=gutter)
    assert_same_surface(result, faces)
    atlas = inspect(positions, result.vertex_map, result.faces, result.uvs, size, gutter)
    assert (atlas.flipped, atlas.doubled, atlas.crowded) == (0, 0, 0), atlas
    assert atlas.stretch <= 1.25, atlas
    assert atlas.thin <= (3 if name == "very rough" else 0), atlas  # half of its faces look the wrong way
    assert atlas.use >= use - (0.1 if size < 1024 else 0.0), atlas


def assert_same_surface(result: Unwrapped, faces: np.ndarray) -> None:
    assert np.array_equal(result.vertex_map[result.faces], faces)
    assert result.uvs.dtype == np.float32
    assert result.faces.dtype == result.vertex_map.dtype == result.charts.dtype == np.int32
    assert result.uvs.min() >= 0.0
    assert result.uvs.max() <= 1.0
    assert len(np.unique(result.faces)) == len(result.uvs), "every vertex is used"


def test_charts_are_what_shares_vertices() -> None:
    positions, faces = bumpy_icosphere(4)
    result = unwrap(positions, faces)
    by_vertex = np.full(len(result.uvs), -1)
    by_vertex[result.faces] = result.charts[:, None]
    assert (by_vertex[result.faces] == result.charts[:, None]).all()


def test_noise_leaves_few_charts() -> None:
    positions, faces = rough_sphere(6, 0.25)
    assert unwrap(positions, faces).charts.max() < 150  # of 81,920 faces


def test_the_angle_decides_how_many_charts_there_are() -> None:
    positions, faces = bumpy_icosphere(4)
    counts = [unwrap(positions, faces, ChartOptions(angle)).charts.max() + 1 for angle in (10.0, 30.0, 90.0)]
    assert counts[0] > 2 * counts[1] > 2 * counts[2]


def test_refining_straightens_borders() -> None:
    positions, faces = bumpy_icosphere(5)

    def seam(options: ChartOptions) -> float:
        result = unwrap(positions, faces, options)
        return float(len(result.uvs) - len(positions)) / (result.charts.max() + 1) ** 0.5

    assert seam(ChartOptions(30.0, refine_iterations=6, smooth_strength=10.0)) < seam(ChartOptions(30.0))


def test_the_same_mesh_gives_the_same_coordinates() -> None:
    positions, faces = rough_sphere(4, 0.3)
    one, two = unwrap(positions, faces), unwrap(positions, faces)
    assert np.array_equal(one.uvs, two.uvs)
    assert np.array_equal(one.faces, two.faces)


def test_the_checker_sees_overlaps_flips_and_crowding() -> None:
    positions = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)] * 2, dtype=float)
    faces = np.array([(0, 1, 2), (3, 4, 5)])
    corner = np.array([(0.1, 0.1), (0.4, 0.1), (0.1, 0.4)])

    def seen(shift: float, turn: bool = False) -> tuple[bool, bool, bool]:
        other = np.add(corner, (shift, 0.0))[[0, 2, 1] if turn else [0, 1, 2]]
        atlas = inspect(positions, np.arange(6), faces, np.concatenate((corner, other)), 256, 2)
        return atlas.doubled > 0, atlas.crowded > 0, atlas.flipped > 0

    assert seen(0.1) == (True, True, False)
    assert seen(0.303) == (False, True, False)
    assert seen(0.32) == (False, False, False)
    assert seen(0.5, turn=True) == (False, False, True)


def test_the_rasterizer_covers_every_centre_once() -> None:
    corners = np.add([[(0, 0), (8, 0), (8, 8)], [(0, 0), (8, 8), (0, 8)]], (0.25, 0.1))
    covered, _ = rasterize(corners, np.zeros(2, dtype=int), 16)
    assert covered.sum() == 64
    assert covered.max() == 1
