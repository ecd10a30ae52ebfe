# SPDX-License-Identifier: GPL-3.0-or-later
"""A baked mesh looks like its source, from whatever the source takes its look and whatever is wrong with either."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from engine.errors import EspalierError
from engine.mesh.bake import Baked, Source, Target, bake
from engine.mesh.closest import Surface
from engine.mesh.color import LINEAR_OF_BYTE, to_linear, to_srgb
from engine.mesh.model import Material, Texture
from engine.mesh.sample import MaterialAppearance, VolumeAppearance
from engine.mesh.volume import SparseVolume
from engine.progress import Cancelled, Run, Stage
from tests.support.baking import cube_map, painted, pattern, surface_points
from tests.support.render import bilinear, lerp, psnr, render, textured, view_directions
from tests.support.shapes import bumpy_sphere, icosphere

SIZE = 512


def unindexed(positions: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mesh with vertices of its own for each face, as a GLB with a seam at every edge has it."""
    return positions[faces].reshape(-1, 3).astype(np.float32), np.arange(faces.size).reshape(-1, 3)


class Scene:
    """The bumpy sphere of 82 k faces with a texture, and the same of 5 k faces that gets one."""

    def __init__(self) -> None:
        self.positions, self.faces = bumpy_sphere(6)
        self.uvs = cube_map(self.positions, self.faces)
        self.texture = painted(self.positions, self.faces, self.uvs, 1024)
        split, corners = unindexed(self.positions, self.faces)
        uvs = self.uvs.reshape(-1, 2)
        look = MaterialAppearance(Material(), split, corners, uvs, pixels={"base_color": self.texture})
        self.source = Source(split, corners, look, uvs)
        self.low_positions, self.low_faces = bumpy_sphere(4)
        self.low_uvs = cube_map(self.low_positions, self.low_faces)
        self.target = target_of(self.low_positions, self.low_faces, self.low_uvs)
        self.baked = bake(self.target, self.source, 1024, normal_map=True)


def target_of(positions: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray) -> Target:
    uv_faces = np.arange(faces.size).reshape(-1, 3)
    return Target(np.asarray(positions, np.float32), faces, corner_uvs.reshape(-1, 2), uv_faces)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def test_colors_at_the_surface(scene: Scene) -> None:
    points, face, weights = surface_points(scene.positions, scene.faces, 100_000)
    true = bilinear(LINEAR_OF_BYTE[scene.texture], lerp(scene.uvs, face, weights))
    hits = Surface(scene.low_positions, scene.low_faces).closest(points)
    image = LINEAR_OF_BYTE[scene.baked.images["base_color"]]
    got = bilinear(image, lerp(scene.low_uvs, hits.face, hits.weights))
    assert psnr(to_srgb(true), to_srgb(got)) > 45
    assert np.abs(to_srgb(true) - to_srgb(got)).max() < 0.3  # not even at a seam does anything else show


def test_renders_and_what_the_normal_map_gains(scene: Scene) -> None:
    before = textured(scene.positions, scene.faces, scene.uvs, {"base_color": scene.texture})
    after = textured(scene.low_positions, scene.low_faces, scene.low_uvs, scene.baked.images)
    color_only = {"base_color": scene.baked.images["base_color"]}
    flat = textured(scene.low_positions, scene.low_faces, scene.low_uvs, color_only)
    with_map, without = [], []
    for direction in view_directions(4):
        image = render(before, direction, 256)
        with_map.append(psnr(image, render(after, direction, 256)))
        without.append(psnr(image, render(flat, direction, 256)))
    assert np.mean(with_map) > np.mean(without) + 3
    assert min(with_map) > 27  # 16 times fewer faces: what is left is the outline


def test_the_normal_map_means_the_normals_of_the_source(scene: Scene) -> None:
    after = textured(scene.low_positions, scene.low_faces, scene.low_uvs, scene.baked.images)
    _, face, weights = surface_points(scene.low_positions, scene.low_faces, 5000)
    got = after.normal(face, weights)
    got /= np.linalg.norm(got, axis=1, keepdims=True)
    points = lerp(scene.low_positions[scene.low_faces], face, weights)
    hits = Surface(scene.positions, scene.faces).closest(points)
    from engine.mesh.normals import vertex_normals

    true = lerp(vertex_normals(scene.positions, scene.faces)[scene.faces], hits.face, hits.weights)
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip((got * true).sum(axis=1), -1, 1)))
    assert np.median(angle) < 1.5
    assert np.quantile(angle, 0.95) < 8


def test_unpainted_background_never_shows(scene: Scene) -> None:
    magenta = (scene.baked.images["base_color"].astype(int) - (255, 0, 255)).__abs__().max(axis=2) < 20
    assert magenta.mean() < 0.001  # the pattern itself comes near it in places


def plain(channel: str, value: float) -> tuple[Source, Target]:
    positions, faces = icosphere(3)
    factors = {
        "base_color": {"base_color_factor": (value, value, value, 1.0)},
        "metallic": {"metallic_factor": value},
        "roughness": {"roughness_factor": value},
        "alpha": {"base_color_factor": (1.0, 1.0, 1.0, value), "alpha_mode": "BLEND"},
        "emissive": {"emissive_factor": (value, value, value)},
    }[channel]
    low, low_faces = icosphere(2)
    look = MaterialAppearance(Material(**factors), positions, faces)  # type: ignore[arg-type]
    return Source(positions, faces, look), target_of(low, low_faces, cube_map(low, low_faces))


@pytest.mark.parametrize("channel", ["base_color", "metallic", "roughness", "alpha", "emissive"])
def test_a_constant_fills_the_whole_texture(channel: str) -> None:
    source, target = plain(channel, 0.25)
    image = bake(target, source, 64, channels=[channel]).images[channel]
    assert image.dtype == np.uint8
    expected = 137 if channel in ("base_color", "emissive") else 64
    assert (image == expected).all()


def test_vertex_colors_without_uvs() -> None:
    positions, faces = bumpy_sphere(5)
    source = Source(positions, faces, MaterialAppearance(Material(), positions, faces, None, pattern(positions)))
    low, low_faces = bumpy_sphere(4)
    uvs = cube_map(low, low_faces)
    baked = bake(target_of(low, low_faces, uvs), source, SIZE, channels=["base_color"])
    points, face, weights = surface_points(low, low_faces, 20_000)
    got = bilinear(LINEAR_OF_BYTE[baked.images["base_color"]], lerp(uvs, face, weights))
    assert psnr(to_srgb(pattern(points)), to_srgb(got)) > 33
    assert set(baked.images) == {"base_color"}


def test_a_volume_of_attributes() -> None:
    positions, faces = bumpy_sphere(4)
    size = 0.01
    dense = np.random.default_rng(0).dirichlet((1, 1, 1), (len(faces), 30)) @ positions[faces]
    coords = np.unique((np.floor(dense.reshape(-1, 3) / size)[:, None] + [[0, 0, 0]]).reshape(-1, 3), axis=0)
    centers = (coords + 0.5) * size
    attributes = np.concatenate([to_srgb(pattern(centers)), np.full((len(coords), 3), (0.2, 0.6, 1.0))], axis=1)
    volume = SparseVolume(coords.astype(np.int32), attributes.astype(np.float32), np.zeros(3), size)
    low, low_faces = bumpy_sphere(3)
    uvs = cube_map(low, low_faces)
    source = Source(positions, faces, VolumeAppearance(volume))
    baked = bake(target_of(low, low_faces, uvs), source, SIZE, normal_map=True)
    points, _, _ = surface_points(positions, faces, 20_000)
    hits = Surface(low, low_faces).closest(points)
    got = bilinear(LINEAR_OF_BYTE[baked.images["base_color"]], lerp(uvs, hits.face, hits.weights))
    assert psnr(to_srgb(pattern(points)), to_srgb(got)) > 30  # the voxels are coarse: 1 / 90 of the sphere
    assert (baked.images["metallic"] == 51).all()
    assert (baked.images["roughness"] == 153).all()
    assert (baked.images["alpha"] == 255).all()


def slab(thickness: float, cells: int, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a closed thin plate around z = `shift`: positions, faces, and whether each face is on top."""
    steps = np.linspace(-1, 1, cells + 1)
    x, y = np.meshgrid(steps, steps, indexing="ij")
    count = (cells + 1) ** 2
    top = np.stack([x.ravel(), y.ravel(), np.full(count, shift + thickness / 2)], axis=1)
    bottom = top * (1, 1, 0) + (0, 0, shift - thickness / 2)
    i = np.arange(count).reshape(cells + 1, cells + 1)
    a, b, c, d = i[:-1, :-1].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel(), i[:-1, 1:].ravel()
    up = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    faces = np.concatenate([up, up[:, ::-1] + count])
    return np.concatenate([top, bottom]), faces, np.arange(len(faces)) < len(up)


def test_thin_walls_keep_their_sides() -> None:
    """The target lies 0.7 of the wall's thickness too low, so that its top is closer to the source's bottom."""
    positions, faces, _ = slab(0.02, 16, 0.0)
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    colors = np.where(positions[:, 2:] > 0, red, blue)
    source = Source(positions, faces, MaterialAppearance(Material(), positions, faces, None, colors))
    low, low_faces, top = slab(0.02, 4, 0.0)
    low = low.copy()
    bulge = np.exp(-4 * (low[:, 0] ** 2 + low[:, 1] ** 2))
    low[:, 2] -= 0.014 * bulge
    uvs = (low[low_faces][..., :2] / 2.2 + 0.5) * (0.5, 1) + np.where(top, 0.0, 0.5)[:, None, None] * (1, 0)
    baked = bake(target_of(low, low_faces, uvs), source, 256, channels=["base_color"])
    middle = baked.images["base_color"][100:156, 40:88], baked.images["base_color"][100:156, 168:216]
    assert baked.turned > 100
    assert (middle[0] == (255, 0, 0)).all()
    assert (middle[1] == (0, 0, 255)).all()


def test_a_sheet_seen_from_behind_keeps_its_look() -> None:
    positions, faces, top = slab(0.0, 8, 0.0)
    faces = faces[top]
    source = Source(
        positions, faces, MaterialAppearance(Material(), positions, faces, None, np.full((len(positions), 3), 0.5))
    )
    uvs = positions[faces][..., :2] / 2.2 + 0.5
    behind = target_of(positions, faces[:, ::-1], uvs[:, ::-1])
    baked = bake(behind, source, 64, normal_map=True)
    assert (baked.images["base_color"] == 188).all()
    assert (np.abs(baked.images["normal"].astype(int) - (128, 128, 255)) <= 1).all()


def test_a_source_that_has_a_normal_map_keeps_it() -> None:
    """The same mesh and UVs: the new map must be the old one."""
    positions, faces = icosphere(4)
    uvs = cube_map(positions, faces)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE * 2 * np.pi
    bent = np.stack([0.5 * np.sin(6 * x), 0.4 * np.cos(5 * y), np.ones_like(x)], axis=-1)
    bent /= np.linalg.norm(bent, axis=-1, keepdims=True)
    stream = io.BytesIO()
    Image.fromarray(np.round(bent * 127.5 + 127.5).astype(np.uint8)).save(stream, "PNG")
    material = Material(normal=Texture(stream.getvalue(), "image/png"))
    split, corners = unindexed(positions, faces)
    look = MaterialAppearance(material, split, corners, uvs.reshape(-1, 2))
    source = Source(split, corners, look, uvs.reshape(-1, 2))
    baked = bake(target_of(positions, faces, uvs), source, SIZE, channels=[], normal_map=True)
    inside = baked.covered & np.roll(baked.covered, 3, 0) & np.roll(baked.covered, -3, 0)
    inside &= np.roll(baked.covered, 3, 1) & np.roll(baked.covered, -3, 1)
    got = baked.images["normal"][inside] / 127.5 - 1
    angle = np.degrees(np.arccos(np.clip((got * bent[inside]).sum(axis=1) / np.linalg.norm(got, axis=1), -1, 1)))
    assert np.quantile(angle, 0.99) < 2
    assert set(baked.images) == {"normal"}


def code_of(target: Target, source: Source, size: int = 64) -> str:
    with pytest.raises(EspalierError) as caught:
        bake(target, source, size)
    return caught.value.code


def test_what_cannot_be_baked_is_said() -> None:
    source, target = plain("base_color", 0.5)
    nan = np.array(target.positions)
    nan[3] = np.nan
    none = np.empty((0, 3), np.int32)
    assert code_of(Target(nan, target.faces, target.uvs, target.uv_faces), source) == "mesh_not_finite"
    assert code_of(Target(target.positions, none, target.uvs), source) == "mesh_empty"
    assert (
        code_of(Target(target.positions, target.faces, target.uvs * np.nan, target.uv_faces), source)
        == "mesh_not_finite"
    )
    assert (
        code_of(Target(target.positions, target.faces, target.uvs * 0, target.uv_faces), source) == "mesh_without_uvs"
    )
    assert code_of(Target(target.positions, target.faces, target.uvs[:5], target.uv_faces), source) == "mesh_invalid"
    assert code_of(Target(target.positions, target.faces, target.uvs, target.uv_faces[:7]), source) == "mesh_invalid"
    assert code_of(Target(target.positions, target.faces + 10**6, target.uvs), source) == "mesh_invalid"
    assert code_of(target, Source(source.positions, none, source.appearance)) == "mesh_empty"
    assert code_of(target, Source(source.positions * np.nan, source.faces, source.appearance)) == "mesh_empty"
    assert code_of(target, Source(source.positions * 0, source.faces, source.appearance)) == "mesh_empty"
    assert code_of(target, source, 0) == "parameter_range"
    assert code_of(target, source, 100_000) == "parameter_range"


def test_what_is_only_partly_wrong_is_baked() -> None:
    source, target = plain("base_color", 0.25)
    broken = np.array(source.positions)
    broken[:40] = np.nan
    uvs = np.array(target.uvs)
    uvs[: len(uvs) // 3] = 0.5  # a third of the faces have no area in UV
    far = np.array(uvs)
    far[-30:] += 50  # and some lie outside the image
    look = MaterialAppearance(Material(base_color_factor=(0.25, 0.25, 0.25, 1)), broken, source.faces)
    target = Target(target.positions, target.faces, far, target.uv_faces)
    baked = bake(target, Source(broken, source.faces, look), 64, normal_map=True)
    assert (baked.images["base_color"] == 137).all()


def test_one_texel_and_one_face() -> None:
    positions, faces = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]), np.array([[0, 1, 2]])
    source = Source(positions, faces, MaterialAppearance(Material(), positions, faces))
    for uvs in (np.array([[0, 0], [1, 0], [0, 1.0]]), np.array([[0.1, 0.1], [0.101, 0.1], [0.1, 0.101]])):
        baked = bake(Target(positions, faces, uvs), source, 1, normal_map=True)
        assert baked.images["base_color"].tolist() == [[[255, 255, 255]]]


def test_target_like_the_source_is_the_source(scene: Scene) -> None:
    """More faces than the source, the same surface: nothing is lost."""
    target = target_of(scene.positions, scene.faces, scene.uvs)
    baked = bake(target, scene.source, 1024)
    points, face, weights = surface_points(scene.positions, scene.faces, 20_000)
    got = bilinear(LINEAR_OF_BYTE[baked.images["base_color"]], lerp(scene.uvs, face, weights))
    assert psnr(to_srgb(pattern(points)), to_srgb(got)) > 48
    assert baked.distance < 1e-6


@pytest.mark.once
def test_progress_rises_and_cancel_is_heard_soon(scene: Scene) -> None:
    seen: list[float] = []
    run = Run([Stage("bake", "Bake", 1)], lambda progress: seen.append(progress.fraction))
    with run.stage("bake"):
        bake(scene.target, scene.source, 256, run=run)
    assert seen == sorted(seen)
    assert seen[0] == 0
    for after in (0.05, 0.3, 0.6):
        begin = time.monotonic()
        asked: list[float] = []

        def cancelled(begin: float = begin, after: float = after, asked: list[float] = asked) -> bool:
            if time.monotonic() - begin > after and not asked:
                asked.append(time.monotonic())
            return bool(asked)

        run = Run([Stage("bake", "Bake", 1)], lambda progress: None, cancelled)
        with pytest.raises(Cancelled), run.stage("bake"):
            bake(scene.target, scene.source, 2048, normal_map=True, run=run)
        assert time.monotonic() - asked[0] < 6  # the bar of 2 s holds for a machine that does nothing else


def test_the_same_input_gives_the_same_textures(scene: Scene) -> None:
    again = bake(scene.target, scene.source, 1024, normal_map=True)
    assert all(np.array_equal(again.images[name], image) for name, image in scene.baked.images.items())
    assert isinstance(again, Baked)
    assert to_linear(np.array([1.0]))[0] == 1
