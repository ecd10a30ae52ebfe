# SPDX-License-Identifier: GPL-3.0-or-later
"""Remeshing gives one closed manifold near the source, whatever the source is."""

from __future__ import annotations

import time

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh import cloud, voxels
from engine.mesh.closest import Surface
from engine.mesh.dual_tables import tables
from engine.mesh.remesh import remesh
from engine.progress import Cancelled, Run, Stage
from tests.support.shapes import bumpy_sphere
from tests.support.surfaces import (
    SHAPES,
    Shape,
    area,
    boxes,
    chair,
    cloth,
    consistent,
    distances,
    edge_counts,
    extra_fans,
    join,
    nested,
    samples,
    sheet,
    sphere,
    turned,
    volume,
)

RESOLUTION = 80


def voxel(shape: Shape, resolution: int = RESOLUTION) -> float:
    return float(np.ptp(shape[0], axis=0).max()) / resolution


def assert_closed_manifold(shape: Shape) -> None:
    positions, faces = shape
    assert np.isfinite(positions).all()
    assert (edge_counts(faces) == 2).all()
    assert consistent(faces)
    assert extra_fans(faces) == 0
    assert volume(positions, faces) > 0


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("project", [0.0, 0.9, 1.0])
def test_result_is_a_closed_manifold_near_the_source(name: str, project: float) -> None:
    source = SHAPES[name]()
    result = remesh(*source, RESOLUTION, project=project)
    assert_closed_manifold(result)
    away = distances(result[0], source) / voxel(source)
    assert away.max() < 1.8
    assert np.percentile(away, 95) < 1.1 - project * 0.95 + 0.1


@pytest.mark.parametrize("name", ["sheet", "cloth", "bottle", "soup"])
def test_what_can_be_seen_is_covered(name: str) -> None:
    source = SHAPES[name]()
    away = distances(samples(*source), remesh(*source, RESOLUTION)) / voxel(source)
    assert np.percentile(away, 99) < 0.5


@pytest.mark.parametrize("band", [0.0, 1.0, 2.5])
def test_band_holds_everything_closed(band: float) -> None:
    assert_closed_manifold(remesh(*cloth(), 50, band=band))


def test_random_fields_stay_manifold() -> None:
    """Noise meets every sign of a cell's corners, the ambiguous ones too."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        corners = rng.uniform(0, 1, (150, 1, 3)) + rng.uniform(-0.03, 0.03, (150, 3, 3))
        soup = corners.reshape(-1, 3), np.arange(450).reshape(-1, 3)
        assert_closed_manifold(remesh(*soup, 24, project=0.0, drop_hidden=False))
        assert_closed_manifold(remesh(*soup, 24))


def test_tables_join_every_crossed_edge_once() -> None:
    table = tables()
    corner = np.array([[code >> s & 1 for s in range(8)] for code in range(256)], bool)
    for edge in range(12):
        axis, low = edge >> 2, (edge & 1) << ((edge >> 2) + 1) % 3 | (edge >> 1 & 1) << ((edge >> 2) + 2) % 3
        assert (table.crossed[:, edge] == (corner[:, low] != corner[:, low | 1 << axis])).all()
    for code in range(256):
        used = table.patch[code][table.crossed[code]]
        assert set(used) == set(range(table.patches[code]))
        assert all((used == patch).sum() >= 3 for patch in range(table.patches[code]))


class TestWalls:
    def test_sheet_is_as_thick_as_designed(self) -> None:
        source = sheet()
        positions, faces = remesh(*source, RESOLUTION)
        assert area(positions, faces) < 2.1 * area(*source)
        assert volume(positions, faces) == pytest.approx(0.2 * voxel(source) * area(*source), rel=0.1)

    def test_sheet_drawn_back_wholly_keeps_its_sides_apart(self) -> None:
        source = sheet()
        assert volume(*remesh(*source, RESOLUTION, project=1.0)) > 0.05 * voxel(source) * area(*source)

    def test_solid_has_no_second_wall(self) -> None:
        source = sphere(0.5)
        positions, faces = remesh(*source, RESOLUTION)
        assert area(positions, faces) == pytest.approx(area(*source), rel=0.02)
        assert volume(positions, faces) == pytest.approx(volume(*source), rel=0.02)

    def test_thin_bars_have_no_second_wall(self) -> None:
        source = chair()
        positions, faces = remesh(*source, 128)
        assert area(positions, faces) < 1.05 * area(*source)

    def test_hidden_shells_are_dropped(self) -> None:
        kept, dropped = (remesh(*nested(), RESOLUTION, drop_hidden=drop) for drop in (False, True))
        assert area(*dropped) == pytest.approx(area(*sphere(0.5)), rel=0.02)
        assert area(*kept) > 3 * area(*dropped)
        assert_closed_manifold(kept)

    def test_what_shows_through_a_hole_is_kept(self) -> None:
        positions, faces = sphere(0.5)
        opened = positions, faces[positions[faces].mean(axis=1)[:, 1] < 0.45]
        source = join(opened, sphere(0.2, 3, (0.1, 0, 0)))
        result = remesh(*source, RESOLUTION)
        assert area(*result) > 0.95 * (2 * area(*opened) + area(*sphere(0.2)))
        assert np.percentile(distances(samples(*source), result), 99) < 0.5 * voxel(source)

    def test_narrow_winding_passage_is_followed(self) -> None:
        """The way in is far narrower than the cells that are flooded first."""
        positions, faces = sphere(0.5, 5)
        middle = positions[faces].mean(axis=1)
        hole = (middle[:, 1] > 0) & (np.hypot(middle[:, 0], middle[:, 2]) < 2.2 / 100)
        source = positions, faces[~hole]
        assert area(*remesh(*source, 100)) > 1.9 * area(*source)


class TestShape:
    def test_concave_creases_are_kept(self) -> None:
        source = boxes()
        positions, faces = remesh(*source, 128)
        # Where two boxes of the cross meet.
        crease = np.stack([np.full(50, 0.2), np.full(50, 0.2), np.linspace(-0.1, 0.1, 50)], axis=1)
        assert distances(crease, (positions, faces)).max() < 0.5 * voxel(source, 128)

    def test_convex_corners_are_kept(self) -> None:
        source = turned(boxes(), 0.4)
        result = remesh(*source, 128)
        corner = turned((np.array([[0.5, 0.2, 0.2], [0.2, 0.5, 0.2], [-0.5, -0.2, 0.2]]), source[1]), 0.4)[0]
        assert distances(corner, result).max() < 0.5 * voxel(source, 128)

    def test_no_face_is_turned_over(self) -> None:
        source = turned(join(sphere(0.5, 5), sphere(0.3, 5, (0.5, 0.2, 0))), 0.3)
        positions, faces = remesh(*source, 96)
        a, b, c = (positions[faces[:, k]] for k in range(3))
        normal, center = np.cross(b - a, c - a), (a + b + c) / 3
        middle = turned((np.array([[0.0, 0, 0], [0.5, 0.2, 0]]), faces), 0.3)[0]
        own = np.linalg.norm(center - middle[0], axis=1) / 0.5 > np.linalg.norm(center - middle[1], axis=1) / 0.3
        outward = center - middle[own.astype(int)]
        size = np.linalg.norm(normal, axis=1)
        assert ((normal * outward).sum(axis=1) < 0)[size > 1e-3 * np.median(size)].mean() < 1e-3

    def test_bumpy_sphere_is_close_at_a_good_resolution(self) -> None:
        source = bumpy_sphere(6)
        away = distances(samples(*source, 50_000), remesh(*source, 200)) / voxel(source, 200)
        assert np.percentile(away, 99) < 0.5
        assert away.max() < 1

    def test_winding_of_the_source_does_not_matter(self) -> None:
        positions, faces = boxes()
        rng = np.random.default_rng(0)
        mixed = np.where(rng.uniform(size=(len(faces), 1)) < 0.5, faces[:, ::-1], faces)
        assert volume(*remesh(positions, mixed, 64)) == pytest.approx(volume(*remesh(positions, faces, 64)), rel=1e-3)

    def test_place_and_size_do_not_matter(self) -> None:
        positions, faces = cloth()
        here, there = remesh(positions, faces, 60), remesh(positions * 1000 + 5000, faces, 60)
        assert len(there[1]) == pytest.approx(len(here[1]), rel=0.01)
        assert area(*there) == pytest.approx(area(*here) * 1e6, rel=0.01)

    def test_voxel_size_can_be_given(self) -> None:
        coarse, fine = (remesh(*sphere(0.5), voxel=size) for size in (0.05, 0.025))
        assert len(fine[1]) == pytest.approx(4 * len(coarse[1]), rel=0.15)


def test_vertices_may_stand_for_a_fine_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    source = bumpy_sphere(6)
    monkeypatch.setattr(cloud, "FEWEST_FACES", 10**9)
    without = remesh(*source, 120)
    monkeypatch.setattr(cloud, "FEWEST_FACES", 0)
    assert cloud.Cloud.of(Surface(*source), voxel(source, 120)) is not None
    with_cloud = remesh(*source, 120)
    assert_closed_manifold(with_cloud)
    assert len(with_cloud[1]) == pytest.approx(len(without[1]), rel=0.001)
    assert distances(with_cloud[0], without).max() < 0.2 * voxel(source, 120)


def test_bounds_of_a_cloud_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    source = bumpy_sphere(5)
    monkeypatch.setattr(cloud, "FEWEST_FACES", 0)
    found = cloud.Cloud.of(Surface(*source), 0.1)
    assert found is not None
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (20_000, 3))
    low, high = found.bounds(points, None)
    exact = distances(points, source)
    assert (low <= exact + 1e-6).all()
    assert (exact <= high + 1e-6).all()


class TestBadInput:
    def test_nothing(self) -> None:
        with pytest.raises(EspalierError) as caught:
            remesh(np.zeros((0, 3)), np.zeros((0, 3), int))
        assert caught.value.code == "mesh_empty"

    @pytest.mark.parametrize("positions", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.eye(3) * [1, 0, 0]])
    def test_no_area(self, positions: np.ndarray) -> None:
        with pytest.raises(EspalierError) as caught:
            remesh(positions, np.array([[0, 1, 2]]))
        assert caught.value.code == "mesh_empty"

    def test_positions_that_are_not_numbers_are_left_out(self) -> None:
        positions, faces = sphere(0.5)
        positions = positions.copy()
        positions[7] = np.nan, np.inf, 0
        assert_closed_manifold(remesh(positions, faces, 50))

    def test_one_triangle(self) -> None:
        assert_closed_manifold(remesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]), 50))

    def test_absurd_resolution(self) -> None:
        with pytest.raises(EspalierError) as caught:
            remesh(*sphere(0.5), 100_000)
        assert caught.value.code == "mesh_invalid"

    def test_hundred_thousand_specks(self) -> None:
        rng = np.random.default_rng(0)
        corners = rng.uniform(0, 1, (100_000, 1, 3)) + rng.uniform(-1e-4, 1e-4, (100_000, 3, 3))
        assert_closed_manifold(remesh(corners.reshape(-1, 3), np.arange(300_000).reshape(-1, 3), 48))


@pytest.mark.once
def test_cancel_is_heard_everywhere() -> None:
    """The longest pause between two looks at whether the job was cancelled."""
    looks = [time.process_time()]

    def look() -> bool:
        looks.append(time.process_time())  # other programs on the machine do not count
        return False

    reports: list[float] = []
    run = Run([Stage("remesh", "Remeshing", 1)], lambda progress: reports.append(progress.fraction), look)
    source = bumpy_sphere(7)
    with run.stage("remesh"):
        remesh(*source, 256, run=run)
    assert max(np.diff(looks)) < 2
    assert reports == sorted(reports)
    assert len(reports) > 4

    small, often = bumpy_sphere(5), len(looks)
    looks.clear()
    remesh(*small, 64, run=Run([], lambda progress: None, look))
    assert 10 < len(looks) < often
    for after in (1, len(looks) // 2, len(looks) - 2):
        seen = [0]

        def stop(after: int = after, seen: list[int] = seen) -> bool:
            seen[0] += 1
            return seen[0] > after

        with pytest.raises(Cancelled):
            remesh(*small, 64, run=Run([], lambda progress: None, stop))


def test_what_fills_space_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid of crumbs, each closer to the next than the band is wide, would be dense voxels everywhere."""
    monkeypatch.setattr(voxels, "MOST_BRICKS", 50_000)
    corner = np.stack(np.meshgrid(*[np.arange(25)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3) / 25
    crumb = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)]) / 80
    positions = (corner + crumb).reshape(-1, 3)
    with pytest.raises(EspalierError) as caught:
        remesh(positions, np.arange(len(positions)).reshape(-1, 3), 100)
    assert caught.value.code == "remesh_dense"
    assert len(remesh(*sphere(0.5), 100)[1]) > 10_000
