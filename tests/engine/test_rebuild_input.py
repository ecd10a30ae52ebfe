# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever comes in, rebuilding gives a sound mesh with textures, or says what is wrong with the source."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.errors import EspalierError
from engine.mesh.glb import Material, Mesh, Texture
from engine.mesh.rebuild import Level, Options, lods, rebuild
from engine.mesh.unwrap import unwrap
from tests.support.atlas import inspect
from tests.support.bumpy import rough_sphere
from tests.support.meshes import bumpy_sphere, encoded_image
from tests.support.shapes import icosphere
from tests.support.surfaces import Shape, box, cloth, distances, edge_counts, join, klein, samples, sphere

PLAIN = Options(remesh=False, texture_size=256)
REMESH = Options(resolution=64, texture_size=256)
BOTH = pytest.mark.parametrize("options", [PLAIN, REMESH], ids=["plain", "remesh"])


def mesh_of(shape: Shape, uvs: np.ndarray | None = None) -> Mesh:
    positions = np.asarray(shape[0], np.float32)
    return Mesh(positions, shape[1].astype(np.uint32), None, None if uvs is None else np.asarray(uvs, np.float32))


def copies(shape: Shape, count: int, apart: float) -> Shape:
    """Return a cube full of copies of `shape`."""
    side = int(np.ceil(count ** (1 / 3)))
    at = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)[:count] * apart
    faces = shape[1] + np.arange(count)[:, None, None] * len(shape[0])
    return (shape[0] + at).reshape(-1, 3), faces.reshape(-1, 3)


def assert_sound(level: Level) -> None:
    """Assert that the arrays hold together and that the facts about the surface are true."""
    mesh = level.mesh
    assert len(mesh.faces)
    assert mesh.uvs is not None
    assert mesh.normals is not None
    for values in (mesh.positions, mesh.uvs, mesh.normals):
        assert np.isfinite(values).all()
        assert len(values) == len(mesh.positions)
    assert mesh.uvs.min() >= 0
    assert mesh.uvs.max() <= 1
    assert mesh.faces.max() < len(mesh.positions)
    _, welded = np.unique(mesh.positions, axis=0, return_inverse=True)
    counts = edge_counts(welded.reshape(-1)[mesh.faces])
    assert level.facts["closed"] == bool((counts == 2).all())
    assert level.material.double_sided == bool((counts == 1).any())
    assert level.facts["faces"] == len(mesh.faces)
    assert level.facts["alpha_mode"] == level.material.alpha_mode
    image = pixels(level)
    assert image.shape[:2] == (level.facts["texture_size"],) * 2
    assert (image.shape[2] == 4) == (level.material.alpha_mode != "OPAQUE")


def pixels(level: Level) -> np.ndarray:
    assert level.material.base_color is not None
    return np.asarray(Image.open(io.BytesIO(level.material.base_color.data)))


TRIANGLE = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], float), np.array([(0, 1, 2)])


@BOTH
@pytest.mark.parametrize(
    ("positions", "faces", "code"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), int), "mesh_empty"),
        (np.eye(3), np.zeros((0, 3), int), "mesh_empty"),
        (np.full((9, 3), np.inf), np.arange(9).reshape(-1, 3), "mesh_empty"),
        (np.zeros((9, 3)), np.arange(9).reshape(-1, 3), "mesh_empty"),
        (np.arange(27).reshape(9, 3), np.arange(9).reshape(-1, 3), "mesh_empty"),
        (np.eye(3), np.array([[0, 1, 3]]), "mesh_invalid"),
    ],
    ids=["nothing", "no face", "infinite", "a point", "a line", "no such vertex"],
)
def test_what_is_no_surface_is_told(positions: np.ndarray, faces: np.ndarray, code: str, options: Options) -> None:
    with pytest.raises(EspalierError) as caught:
        rebuild(mesh_of((positions, faces)), Material(), 100, options)
    assert caught.value.code == code


def moebius() -> Shape:
    across, along = np.meshgrid([-0.2, 0.0, 0.2], np.linspace(0, 2 * np.pi, 60, endpoint=False))
    radius = 1 + across * np.cos(along / 2)
    points = np.stack([radius * np.cos(along), across * np.sin(along / 2), radius * np.sin(along)], -1)
    number = np.arange(180).reshape(60, 3)
    after = np.concatenate([number[1:], number[:1, ::-1]])
    a, b, c, d = (part.ravel() for part in (number[:, :-1], after[:, :-1], after[:, 1:], number[:, 1:]))
    return points.reshape(-1, 3), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def needles() -> Shape:
    """Spikes a thousand times as long as thick."""
    return join(*(box((1, 1e-3, 1e-3), (0, 0.1 * k, 0.05 * k * k)) for k in range(6)))


def crossing() -> Shape:
    return join(sphere(0.5, 4), sphere(0.5, 4, (0.4, 0.1, 0)), box((2, 0.1, 0.1)))


def repeated() -> Shape:
    """Every face three times, once of them turned over."""
    positions, faces = sphere(0.5, 3)
    return positions, np.concatenate([faces, faces, faces[:, ::-1]])


def unlike() -> Shape:
    """One huge triangle, and a ball of 5,120 faces beside it that is 2,000 times smaller."""
    return join((TRIANGLE[0] * 100, TRIANGLE[1]), sphere(0.05, 4, (3, 3, 3)))


def partly_broken() -> Shape:
    positions, faces = sphere(0.5, 3)
    positions = positions.copy()
    positions[::97] = np.nan
    return positions, faces


ODD: list[Callable[[], Shape]] = [moebius, klein, needles, crossing, repeated, unlike, partly_broken, cloth]


@BOTH
@pytest.mark.parametrize("shape", ODD, ids=lambda shape: shape.__name__)
def test_odd_surfaces(shape: Callable[[], Shape], options: Options) -> None:
    level = rebuild(mesh_of(shape()), Material(), 300, options)
    assert_sound(level)
    assert level.facts["closed"] or not options.remesh


@pytest.mark.parametrize("shape", [moebius, repeated, unlike], ids=lambda shape: shape.__name__)
def test_a_target_larger_than_the_source_keeps_it(shape: Callable[[], Shape]) -> None:
    level = rebuild(mesh_of(shape()), Material(), 10**7, PLAIN)
    assert_sound(level)
    assert not level.notices
    assert len(level.mesh.faces) <= len(shape()[1]) + 200  # what closes holes, and what parts doubled edges


@pytest.mark.parametrize(
    ("scale", "at", "options"),
    [(1e-6, 0.0, REMESH), (1e6, 0.0, PLAIN), (1e6, 0.0, REMESH), (1e-6, 1e-3, PLAIN), (1.0, 1e4, REMESH)],
    ids=["tiny remesh", "huge", "huge remesh", "tiny far", "far remesh"],
)
def test_size_and_place_do_not_matter(scale: float, at: float, options: Options) -> None:
    ball = sphere(0.5, 3)
    level = rebuild(mesh_of((ball[0] * scale + at, ball[1])), Material(), 1000, options)
    assert_sound(level)
    assert level.facts["closed"]
    back = (level.mesh.positions.astype(np.float64) - at) / scale
    rounding = 2.0 * np.spacing(np.float32(at)) / scale
    assert np.percentile(distances(samples(*ball, 5000), (back, level.mesh.faces)), 99) < 0.01 + rounding


@pytest.mark.parametrize("shape", [TRIANGLE, box((0.3, 0.3, 0.3))], ids=["triangles", "boxes"])
def test_pieces_that_have_few_faces_already_all_stay(shape: Shape) -> None:
    level = rebuild(mesh_of(copies(shape, 500, 2.0)), Material(), 250, Options(remesh=False, texture_size=512))
    assert_sound(level)
    assert level.facts["closed"] == (len(shape[1]) > 1)
    assert len(level.mesh.faces) >= 495 * min(len(shape[1]), 4)  # a hundredth of the surface may be crumbs
    assert any("does not allow fewer" in notice for notice in level.notices)


def test_more_pieces_than_fit_are_told_with_the_way_out() -> None:
    source = mesh_of(copies(TRIANGLE, 8000, 2.0))
    with pytest.raises(EspalierError) as caught:
        rebuild(source, Material(), 5000, PLAIN)
    assert caught.value.code == "unwrap_parts"
    assert "Remesh" in str(caught.value)
    assert_sound(rebuild(mesh_of(copies(TRIANGLE, 500, 0.5)), Material(), 5000, REMESH))


def test_a_needle_of_which_no_chart_has_a_border() -> None:
    """Its thin charts are joined to the whole closed piece, which cannot be laid flat as one."""
    positions, faces = icosphere(1)
    result = unwrap(*join(box((1, 1, 1)), (positions * (0.02, 0.002, 0.002) + (2, 0, 0), faces)), texture_size=2048)
    assert (result.charts >= 0).all()


@pytest.mark.parametrize("kind", ["beyond", "nan", "no area", "one nan"])
def test_any_texture_coordinates(kind: str) -> None:
    positions, faces, normals, uvs = bumpy_sphere(3)
    wrong = {
        "beyond": uvs * 7 - 3,
        "nan": np.full_like(uvs, np.nan),
        "no area": np.full_like(uvs, 0.25),
        "one nan": np.where(np.arange(len(uvs))[:, None] == 5, np.nan, uvs),
    }[kind].astype(np.float32)
    texture = Texture(encoded_image(64), "image/png")
    material = Material(base_color=texture, normal=texture, metallic_roughness=texture)
    assert_sound(rebuild(Mesh(positions, faces, normals, wrong), material, 400, PLAIN))


@pytest.mark.parametrize(("asked", "alpha"), [("OPAQUE", 0), ("MASK", 0), ("BLEND", 0), ("MASK", 255), ("BLEND", None)])
def test_alpha_mode_is_that_of_the_source_where_anything_can_be_seen_through(asked: Any, alpha: int | None) -> None:
    texture = Texture(encoded_image(64, alpha=alpha), "image/png")
    level = rebuild(Mesh(*bumpy_sphere(3)), Material(base_color=texture, alpha_mode=asked), 400, PLAIN)
    assert_sound(level)
    assert level.material.alpha_mode == (asked if alpha == 0 else "OPAQUE")
    assert not level.material.double_sided


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_format_of_texture_is_read(kind: str) -> None:
    data = encoded_image(256, kind)
    texture = Texture(data, f"image/{kind.lower()}")  # type: ignore[arg-type]
    assert_sound(rebuild(Mesh(*bumpy_sphere(3)), Material(base_color=texture), 400, PLAIN))
    cut = Texture(data[: len(data) // 2], texture.mime)
    with pytest.raises(EspalierError) as caught:
        rebuild(Mesh(*bumpy_sphere(3)), Material(base_color=cut), 400, PLAIN)
    assert caught.value.code == "texture_unreadable"


def test_levels_of_noise_are_sound_and_overlap_nowhere() -> None:
    levels = lods(mesh_of(rough_sphere(5, 0.3)), Material(), [10_000, 2000], Options(remesh=False, texture_size=512))
    for level in levels:
        assert_sound(level)
        assert level.facts["closed"]
        mesh = level.mesh
        own = np.arange(len(mesh.positions))
        atlas = inspect(mesh.positions, own, mesh.faces, mesh.uvs, 512, 2)
        assert (atlas.flipped, atlas.doubled) == (0, 0)
