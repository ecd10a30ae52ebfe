# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene of several meshes and materials is one source for rebuilding, and looks as its parts do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.backends.rebuild import create as create_rebuild
from engine.backends.rebuild.backend import options_of
from engine.mesh.color import to_linear
from engine.mesh.glb import Material, Mesh, Texture, read_glb, write_glb
from engine.mesh.glb_parts import Part, read_parts
from engine.mesh.parts import Whole, assemble
from engine.mesh.rebuild import Options, lods, rebuild
from engine.mesh.sample import MaterialAppearance, interpolate
from engine.progress import Run
from engine.request import RebuildRequest
from tests.engine.test_rebuild import colors_at, is_closed, waves
from tests.support.baking import pattern, surface_points
from tests.support.gltf import Glb
from tests.support.meshes import bumpy_sphere, encoded_image
from tests.support.render import psnr

DIRECT = Options(remesh=False, texture_size=1024)
SHIFT = np.array([1.2, 0.0, 0.0], np.float32)


def whole(path: Path) -> Whole:
    return assemble(read_parts(path)[0])


def generate(source: Path, folder: Path, values: dict[str, object]) -> tuple[Path, tuple[str, ...]]:
    """Rebuild `source` through the backend; return the file, and the notices."""
    folder.mkdir()
    backend = create_rebuild()
    asset = backend.generate(RebuildRequest.create(source, values), folder, Run(backend.stages, lambda progress: None))
    return asset.glb, tuple(asset.notices)


def test_a_file_of_one_plain_part_is_rebuilt_as_ever(tmp_path: Path) -> None:
    texture = Texture(waves(256), "image/png")
    write_glb(tmp_path / "a.glb", Mesh(*bumpy_sphere(5)), Material(base_color=texture, name="A"))
    values = {"remesh": False, "texture_size": "1024", "decimation_target": 10000}
    made, notices = generate(tmp_path / "a.glb", tmp_path / "out", values)
    mesh, _ = read_glb(tmp_path / "a.glb")
    request = RebuildRequest.create(tmp_path / "a.glb", values)
    (level,) = lods(mesh, Material(base_color=texture, name=request.name), [10_000], options_of(request))
    write_glb(tmp_path / "b.glb", level.mesh, level.material, name=request.name)
    assert made.read_bytes() == (tmp_path / "b.glb").read_bytes()
    assert notices == level.notices == ()


@pytest.mark.parametrize("remesh", [False, True])
def test_each_region_keeps_its_own_look(tmp_path: Path, remesh: bool) -> None:
    """A sphere of one color, one of vertex colors, one with a texture and no normals, and its mirror image."""
    glb = Glb()
    positions, faces, normals, uvs = bumpy_sphere(4)
    smooth = glb.accessor((pattern(positions) * 65535).astype(np.uint16), normalized=True)
    board = np.zeros((256, 256, 3), np.uint8)
    board[:, :, 0] = np.arange(256)
    board[:, :, 1] = np.arange(256)[:, None]
    image = {"index": glb.texture(board)}
    mesh = glb.mesh(
        glb.primitive(positions, faces, glb.material((0.8, 0.1, 0.2)), NORMAL=normals),
        glb.primitive(positions + SHIFT, faces, glb.material((0.5, 1, 1)), NORMAL=normals, COLOR_0=smooth),
    )
    glb.node(mesh)
    mapped = glb.mesh(glb.primitive(positions, faces, glb.material(base=image), TEXCOORD_0=uvs))
    glb.node(mapped, translation=(SHIFT * 2).tolist())
    glb.node(mapped, translation=(SHIFT * 3).tolist(), scale=[-1, 1, 1])
    source = whole(glb.save(tmp_path / "a.glb"))
    options = Options(resolution=256, texture_size=1024) if remesh else DIRECT
    level = rebuild(source.mesh, source.material, 10_000, options, appearance=source.appearance)
    assert level.facts["alpha_mode"] == "OPAQUE"
    assert is_closed(level.mesh)
    assert not level.notices

    points, face, weights = surface_points(positions, faces, 5000)
    place = interpolate(uvs.astype(np.float64), faces, face, weights)
    painted = np.zeros((len(points), 3))
    painted[:, :2] = to_linear(np.clip(place * 256 - 0.5, 0, 255) / 255)
    inner = (np.abs(place - 0.5) < 0.49).all(axis=1)  # the texture repeats, so that its edges differ
    shades = interpolate(pattern(positions), faces, face, weights) * (0.5, 1, 1)
    truths = [np.tile((0.8, 0.1, 0.2), (len(points), 1)), shades, painted, painted]
    for number, truth in enumerate(truths):
        moved = points * ((-1, 1, 1) if number == 3 else 1) + SHIFT * number
        seen = colors_at(level.mesh, level.material, moved)
        ok = inner if number > 1 else slice(None)
        assert psnr(np.sqrt(seen[ok]), np.sqrt(truth[ok])) >= 35, number


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("width", [3, 4])
def test_vertex_colors_of_every_type(tmp_path: Path, kind: str, width: int) -> None:
    glb = Glb()
    positions, faces, normals, _ = bumpy_sphere(4)
    colors = np.concatenate([pattern(positions), np.full((len(positions), 1), 0.5)], axis=1)[:, :width]
    top = {"u1": 255, "u2": 65535, "f4": 1}[kind]
    stored = (np.round(colors * top) if top > 1 else colors).astype(kind)
    material = glb.material((0.5, 1, 1), alphaMode="BLEND")
    index = glb.accessor(stored, normalized=kind != "f4")
    glb.node(glb.mesh(glb.primitive(positions, faces, material, NORMAL=normals, COLOR_0=index)))
    (part,), notices = read_parts(glb.save(tmp_path / "a.glb"))
    assert not notices
    assert part.colors is not None
    assert part.colors.dtype == np.float32
    assert part.colors.shape == (len(positions), width)
    assert np.abs(part.colors - colors).max() <= 0.501 / max(top, 255)
    if kind != "u1":
        return
    source = assemble([part])
    level = rebuild(source.mesh, source.material, 3000, DIRECT, appearance=source.appearance)
    points, face, weights = surface_points(positions, faces, 5000)
    seen = colors_at(level.mesh, level.material, points)
    truth = interpolate(pattern(positions), faces, face, weights) * (0.5, 1, 1)
    assert psnr(np.sqrt(seen), np.sqrt(truth)) >= 38
    assert level.facts["alpha_mode"] == ("BLEND" if width == 4 else "OPAQUE")


def materials() -> list[Material]:
    """Return materials that differ in all that counts, some of which share a texture."""
    one, two = (Texture(encoded_image(64, seed=seed, alpha=90), "image/png") for seed in (1, 2))
    bent = Texture(encoded_image(64, seed=3), "image/png", "clamp")
    return [
        Material(base_color_factor=(0.5, 0.4, 0.3, 0.2), metallic_factor=0.3, roughness_factor=0.7),
        Material(base_color_factor=(0.5, 1, 0.3, 0.8), base_color=one, alpha_mode="BLEND"),
        Material(base_color=one, metallic_roughness=two, alpha_mode="MASK", alpha_cutoff=0.3),
        Material(base_color=one, metallic_roughness=two, metallic_factor=0.5, alpha_mode="MASK", alpha_cutoff=0.6),
        Material(normal=bent, normal_scale=0.5, emissive_factor=(1.0, 0.5, 0.2), emissive=two),
        Material(emissive_factor=(0.1, 0.2, 0.3), double_sided=True),
        Material(normal=bent, base_color=two, emissive=two),
    ]


def test_a_whole_looks_like_each_of_its_parts() -> None:
    """Each place gives what the part's own appearance gives, whatever its neighbors in memory are."""
    random = np.random.default_rng(0)
    positions, faces, normals, uvs = bumpy_sphere(3)
    parts = []
    for number, material in enumerate(materials()):
        colors = random.random((len(positions), 3 + number % 2), np.float32) if number % 3 else None
        moved = (positions + random.random(3) * 0.2).astype(np.float32)  # they interleave in the order of space
        parts.append(Part(Mesh(moved, faces, normals, uvs), material, colors))
    parts[6].other_uvs = {"base_color": uvs[::-1].copy()}
    source = assemble(parts)
    look = source.appearance
    assert look is not None
    assert look.has_normal_map
    assert source.material.alpha_mode == "BLEND"
    assert source.material.emissive_factor == (1.0, 1.0, 1.0)
    assert source.material.double_sided
    count = 4000
    face = random.integers(0, len(source.mesh.faces), count)
    weights = random.dirichlet((1, 1, 1), count)[:, 1:].astype(np.float32)
    footprint = np.full(count, 1e-7, np.float32)
    look.prepare(face, footprint, None)
    got = look.sample(face, weights, np.zeros((count, 3)), footprint)
    bumps = look.tangent_normals(face, weights, footprint)
    assert bumps is not None
    owner = look._owner[face]
    assert set(owner) == set(range(len(parts)))
    keys = {corners.tobytes(): index for index, corners in enumerate(_corners(parts))}
    for number, part in enumerate(parts):
        at = np.flatnonzero(owner == number)
        there = np.array([keys[corners.tobytes()] for corners in source.mesh.positions[source.mesh.faces[face[at]]]])
        local = there - number * len(faces)
        assert ((local >= 0) & (local < len(faces))).all()
        single = MaterialAppearance(part.material, part.mesh.positions, part.mesh.faces, part.mesh.uvs, part.colors)
        single.prepare(local, footprint[at], None)
        want = single.sample(local, weights[at], np.zeros((len(at), 3)), footprint[at])
        if part.other_uvs:
            other = MaterialAppearance(
                part.material, part.mesh.positions, part.mesh.faces, part.other_uvs["base_color"], part.colors
            )
            other.prepare(local, footprint[at], None)
            want["base_color"] = other.sample(local, weights[at], np.zeros((len(at), 3)), footprint[at])["base_color"]
        want.setdefault("emissive", np.zeros((len(at), 3), np.float32))
        for channel, values in want.items():
            assert np.abs(got[channel][at] - values).max() < 1e-5, (number, channel)
        flat = np.tile(np.array([0, 0, 1], np.float32), (len(at), 1))
        mapped = single.tangent_normals(local, weights[at], footprint[at])
        assert np.abs(bumps[at] - (flat if mapped is None else mapped)).max() < 1e-6


def _corners(parts: list[Part]) -> np.ndarray:
    return np.concatenate([part.mesh.positions[part.mesh.faces] for part in parts])


def test_a_part_that_no_sample_meets_can_still_be_asked() -> None:
    positions, faces, normals, uvs = bumpy_sphere(2)
    parts = [Part(Mesh(positions + SHIFT * n, faces, normals, uvs), m) for n, m in enumerate(materials()[1:3])]
    look = assemble(parts).appearance
    assert look is not None
    mine = np.flatnonzero(look._owner == 0)
    look.prepare(mine, np.full(len(mine), 1e-6, np.float32), None)
    every, weights = np.arange(len(look._owner)), np.full((len(look._owner), 2), 0.3, np.float32)
    got = look.sample(every, weights, np.zeros((len(every), 3)), np.full(len(every), 1e-6, np.float32))
    assert np.isfinite(got["base_color"]).all()
    assert np.ptp(got["base_color"][look._owner == 1]) > 0.1


def test_thousands_of_materials_share_their_texture(tmp_path: Path) -> None:
    glb = Glb()
    positions, faces, _, uvs = bumpy_sphere(1)
    image = {"index": glb.texture(np.full((64, 64, 3), 255, np.uint8))}
    place, lay, index = glb.accessor(positions), glb.accessor(uvs), faces.reshape(-1)
    shared = glb.accessor(index.astype(np.uint32))
    for number in range(3000):
        primitive = {
            "attributes": {"POSITION": place, "TEXCOORD_0": lay},
            "indices": shared,
            "material": glb.material((number / 3000, 0.5, 0.5), base=image),
        }
        glb.node(glb.mesh(primitive), translation=[float(number % 60), float(number // 60), 0.0])
    source = whole(glb.save(tmp_path / "a.glb"))
    assert len(source.mesh.faces) == 3000 * len(faces)
    look = source.appearance
    assert look is not None
    assert len(look._slots[0].looks) == 1
    face = np.arange(0, len(source.mesh.faces), 7)
    footprint = np.full(len(face), 1e-4, np.float32)
    look.prepare(face, footprint, None)
    weights = np.full((len(face), 2), 0.3, np.float32)
    red = look.sample(face, weights, np.zeros((len(face), 3)), footprint)["base_color"][:, 0]
    middle = source.mesh.positions[source.mesh.faces[face]].mean(axis=1)
    number = np.round(middle[:, 0]) + 60 * np.round(middle[:, 1])
    assert np.abs(red - number / 3000).max() < 1e-5


def test_what_was_left_out_is_said_by_the_backend(tmp_path: Path) -> None:
    glb = Glb()
    positions, faces, normals, _ = bumpy_sphere(3)
    shiny = glb.material((1, 0, 0), extensions={"KHR_materials_clearcoat": {"clearcoatFactor": 1}})
    glb.node(glb.mesh(glb.primitive(positions, faces, shiny, NORMAL=normals)))
    made, notices = generate(glb.save(tmp_path / "a.glb"), tmp_path / "out", {"remesh": False, "texture_size": "1024"})
    assert notices[0] == "KHR_materials_clearcoat has no place in a rebuilt material."
    mesh, material = read_glb(made)
    seen = colors_at(mesh, material, positions[:100])
    assert np.abs(seen - (1, 0, 0)).max() < 0.01
