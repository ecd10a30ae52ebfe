# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning repairs what is broken and leaves alone what is not."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh.clean import clean
from engine.mesh.manifold import split_nonmanifold
from engine.progress import Cancelled, Run
from tests.support.surfaces import (
    SHAPES,
    Shape,
    area,
    box,
    chair,
    cloth,
    consistent,
    edge_counts,
    extra_fans,
    grid,
    join,
    klein,
    sphere,
    volume,
)


def torn(shape: Shape) -> Shape:
    """Return the shape with every face on vertices of its own."""
    positions, faces = shape
    return positions[faces].reshape(-1, 3), np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3)


def mixed(faces: np.ndarray, share: float = 0.5) -> np.ndarray:
    turned = np.random.default_rng(0).uniform(size=(len(faces), 1)) < share
    return np.where(turned, faces[:, ::-1], faces)


@pytest.mark.parametrize("name", ["cloth", "chair", "nested", "boxes"])
def test_sound_mesh_stays_as_it_is(name: str) -> None:
    positions, faces = SHAPES[name]()
    cleaned = clean(positions, faces)
    assert (np.sort(cleaned.source) == np.arange(len(faces))).all()
    assert np.allclose(cleaned.positions[cleaned.faces], positions[faces[cleaned.source]])


class TestWeld:
    def test_torn_mesh_is_closed_again(self) -> None:
        positions, faces = sphere(0.5)
        cleaned = clean(*torn((positions, faces)))
        assert len(cleaned.positions) == len(positions)
        assert (edge_counts(cleaned.faces) == 2).all()

    def test_seam_that_gapes_by_a_rounding_error_is_closed(self) -> None:
        positions, faces = torn(sphere(0.5))
        positions += np.random.default_rng(0).uniform(-2e-8, 2e-8, positions.shape)
        cleaned = clean(positions, faces, weld=1e-5, hole=0)
        assert (edge_counts(cleaned.faces) == 2).mean() > 0.995

    def test_vertices_inside_a_surface_are_not_welded_by_nearness(self) -> None:
        positions, faces = join(sphere(0.5, 3), sphere(1e-3, 3))
        assert len(clean(positions, faces, smallest=0, weld=1e-2).positions) == len(positions)


class TestFaces:
    def test_degenerate_and_duplicate_faces_are_dropped(self) -> None:
        positions, faces = sphere(0.5)
        extra = np.array([faces[3], faces[5, [1, 2, 0]], faces[8, ::-1], [4, 4, 9], [7, 7, 7]])
        cleaned = clean(positions, np.concatenate([faces, extra]))
        assert len(cleaned.faces) == len(faces)
        assert (edge_counts(cleaned.faces) == 2).all()

    def test_faces_without_numbers_are_dropped(self) -> None:
        positions, faces = sphere(0.5)
        positions = positions.copy()
        positions[11] = np.nan
        cleaned = clean(positions, faces, hole=0)
        assert len(cleaned.faces) == len(faces) - (faces == 11).any(axis=1).sum()
        assert np.isfinite(cleaned.positions).all()


class TestPieces:
    def test_crumbs_are_dropped(self) -> None:
        crumbs = [sphere(0.0005, 1, (0.6, 0.01 * k, 0)) for k in range(20)]
        cleaned = clean(*join(sphere(0.5), *crumbs))
        assert len(cleaned.faces) == len(sphere(0.5)[1])

    def test_a_mesh_of_crumbs_alone_stays(self) -> None:
        rng = np.random.default_rng(0)
        corners = rng.uniform(0, 1, (200_000, 1, 3)) + rng.uniform(-1e-3, 1e-3, (200_000, 3, 3))
        cleaned = clean(*torn((corners.reshape(-1, 3), np.arange(600_000).reshape(-1, 3))))
        assert area(cleaned.positions, cleaned.faces) > 0.985 * area(
            corners.reshape(-1, 3), np.arange(600_000).reshape(-1, 3)
        )


class TestOrientation:
    @pytest.mark.parametrize("name", ["cloth", "chair", "boxes"])
    def test_mixed_faces_agree_again(self, name: str) -> None:
        positions, faces = SHAPES[name]()
        cleaned = clean(positions, mixed(faces))
        assert consistent(cleaned.faces)

    def test_closed_pieces_face_outwards(self) -> None:
        positions, faces = chair()
        for given in (mixed(faces), faces[:, ::-1]):
            cleaned = clean(positions, given)
            assert volume(cleaned.positions, cleaned.faces) == pytest.approx(volume(positions, faces))

    def test_cavity_keeps_facing_in_and_other_pieces_do_not(self) -> None:
        outer, (inner, inward), (ball, turned) = sphere(0.5), sphere(0.3), sphere(0.2, 4, (1, 0, 0))
        positions, faces = join(outer, (inner, inward[:, ::-1]), (ball, turned[:, ::-1]))
        cleaned = clean(positions, faces)
        expected = volume(*outer) - volume(inner, inward) + volume(ball, turned)
        assert volume(cleaned.positions, cleaned.faces) == pytest.approx(expected, rel=1e-6)

    def test_open_sheet_keeps_the_side_most_of_it_has(self) -> None:
        positions, faces = cloth()
        up = np.cross(*(positions[faces[:, k]] - positions[faces[:, 0]] for k in (1, 2)))[:, 1].sum()
        cleaned = clean(positions, mixed(faces, 0.3))
        now = np.cross(
            *(cleaned.positions[cleaned.faces[:, k]] - cleaned.positions[cleaned.faces[:, 0]] for k in (1, 2))
        )
        assert np.sign(now[:, 1].sum()) == np.sign(up)
        assert consistent(cleaned.faces)

    def test_one_sided_surface_is_left_alone(self) -> None:
        positions, faces = klein()
        cleaned = clean(positions, faces)
        assert area(cleaned.positions, cleaned.faces) == pytest.approx(area(positions, faces))


class TestHoles:
    @pytest.mark.parametrize("missing", [1, 2, 6])
    def test_small_hole_is_closed(self, missing: int) -> None:
        positions, faces = sphere(0.5)
        gone = np.arange(missing) if missing < 3 else np.flatnonzero((faces == 200).any(axis=1))
        cleaned = clean(positions, np.delete(faces, gone, axis=0), hole=0.5)
        assert (edge_counts(cleaned.faces) == 2).all()
        assert consistent(cleaned.faces)
        assert (cleaned.source == -1).sum() > 0
        assert volume(cleaned.positions, cleaned.faces) == pytest.approx(volume(positions, faces), rel=1e-2)

    def test_large_hole_and_rim_of_a_sheet_stay_open(self) -> None:
        positions, faces = sphere(0.5)
        opened = faces[positions[faces].mean(axis=1)[:, 1] < 0.3]
        assert (clean(positions, opened).source >= 0).all()
        small = grid(4, lambda u, v: np.stack([u * 1e-3, 0 * u, v * 1e-3], axis=1))
        assert (clean(*join(sphere(0.5), small), smallest=0, hole=1).source >= 0).all()


class TestManifold:
    def test_boxes_that_share_an_edge_come_apart(self) -> None:
        source = join(box((1, 1, 1)), box((1, 1, 1), (1, 1, 0)))
        cleaned = clean(*source)
        assert edge_counts(cleaned.faces).max() == 4
        split = clean(*source, manifold=True)
        assert (edge_counts(split.faces) == 2).all()
        assert extra_fans(split.faces) == 0
        assert volume(split.positions, split.faces) == pytest.approx(2, rel=1e-2)
        again = clean(split.positions, split.faces)
        assert (edge_counts(again.faces) == 2).all()

    def test_boxes_that_share_a_corner_come_apart(self) -> None:
        cleaned = clean(*join(box((1, 1, 1)), box((1, 1, 1), (1, 1, 1))), manifold=True)
        assert extra_fans(cleaned.faces) == 0
        assert len(cleaned.positions) == 16

    def test_three_sheets_at_one_edge(self) -> None:
        positions = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [-1, 0, 0.2], [0, 0, -1.0]])
        points, faces, _ = split_nonmanifold(positions, np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]]))
        assert edge_counts(faces).max() <= 2
        assert extra_fans(faces) == 0
        assert len(points) == 7


class TestBadInput:
    @pytest.mark.parametrize(
        ("positions", "faces", "code"),
        [
            (np.zeros((0, 3)), np.zeros((0, 3), int), "mesh_empty"),
            (np.zeros((3, 3)), np.array([[0, 1, 2]]), "mesh_empty"),
            (np.full((3, 3), np.nan), np.array([[0, 1, 2]]), "mesh_empty"),
            (np.eye(3), np.array([[0, 0, 1]]), "mesh_empty"),
            (np.eye(3), np.array([[0, 1, 3]]), "mesh_invalid"),
            (np.eye(3), np.array([[0, 1, -1]]), "mesh_invalid"),
            (np.zeros((3, 2)), np.array([[0, 1, 2]]), "mesh_invalid"),
        ],
    )
    def test_clear_error(self, positions: np.ndarray, faces: np.ndarray, code: str) -> None:
        with pytest.raises(EspalierError) as caught:
            clean(positions, faces)
        assert caught.value.code == code


def test_cancel() -> None:
    with pytest.raises(Cancelled):
        clean(*sphere(0.5), run=Run([], lambda progress: None, lambda: True))
