# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes of every layout are read as they look, and what has no place in a rebuild is left out and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh.glb import Material, read_glb
from engine.mesh.glb_parts import Part, read_parts
from tests.engine.test_glb_fuzz import EXPORTED
from tests.support.gltf import FAN, STRIP, Glb
from tests.support.meshes import bumpy_sphere, cube

QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
CORNERS = np.array([[0, 1, 2], [0, 2, 3]])
UVS = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)


def read(glb: Glb, tmp_path: Path) -> tuple[list[Part], tuple[str, ...]]:
    return read_parts(glb.save(tmp_path / "a.glb"))


def volume(part: Part) -> float:
    """Return the signed volume, positive where faces face out."""
    a, b, c = part.mesh.positions[part.mesh.faces].astype(np.float64).transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def triangles(part: Part) -> set[frozenset[tuple[float, ...]]]:
    """Return the faces as sets of places."""
    return {frozenset(map(tuple, corners.tolist())) for corners in part.mesh.positions[part.mesh.faces]}


def test_files_of_one_part_read_as_the_strict_reader_has_them() -> None:
    assert EXPORTED
    for path in EXPORTED:
        (part,), notices = read_parts(path)
        mesh, material = read_glb(path)
        assert notices == ()
        assert part.material == material
        assert part.colors is None
        assert not part.other_uvs
        for name in ("positions", "faces", "normals", "uvs"):
            one, two = getattr(part.mesh, name), getattr(mesh, name)
            assert (one is None) == (two is None)
            assert one is None or (one.dtype == two.dtype and np.array_equal(one, two))


def test_nodes_place_their_meshes(tmp_path: Path) -> None:
    """A mesh that is shown three times: below a parent, mirrored, and by a matrix."""
    glb = Glb()
    positions, faces, normals, _ = cube()
    mesh = glb.mesh(glb.primitive(positions, faces, NORMAL=normals))
    parent = glb.node(translation=[5.0, 0.0, 0.0], rotation=[0.0, 0.0, 0.70710678, 0.70710678])
    glb.node(mesh, parent, scale=[2.0, 1.0, 1.0])
    glb.node(mesh, scale=[-1.0, 1.0, 1.0], translation=[0.0, 3.0, 0.0])
    glb.node(mesh, matrix=[0, 0, 3, 0, 0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 9, 1])
    parts, notices = read(glb, tmp_path)
    assert notices == ()
    boxes = [(p.mesh.positions.min(axis=0).tolist(), p.mesh.positions.max(axis=0).tolist()) for p in parts]
    expected = [
        ([4.5, -1.0, -0.5], [5.5, 1.0, 0.5]),
        ([-0.5, 2.5, -0.5], [0.5, 3.5, 0.5]),
        ([-0.5, -0.5, 7.5], [0.5, 0.5, 10.5]),
    ]
    assert np.allclose(boxes, expected, atol=1e-5)
    for part, size in zip(parts, (2, 1, 3), strict=True):
        assert volume(part) == pytest.approx(size, rel=1e-5)
        assert part.mesh.normals is not None
        corners = part.mesh.positions[part.mesh.faces]
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert (np.einsum("ij,ij->i", flat, part.mesh.normals[part.mesh.faces[:, 0]]) > 0).all()


def test_a_number_that_was_rounded_out_of_its_range_is_read(tmp_path: Path) -> None:
    glb = Glb()
    glb.node(glb.mesh(glb.primitive(QUAD, CORNERS, glb.material((1.0000001, 0, 0)))), rotation=[0, 0, 0, -1.0000001])
    (part,), _ = read(glb, tmp_path)
    assert part.material.base_color_factor == (1.0, 0.0, 0.0, 1.0)
    assert np.array_equal(part.mesh.positions, QUAD)
    glb.document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"][0] = 1.01
    with pytest.raises(EspalierError):
        read(glb, tmp_path)


def test_strips_and_fans_are_triangles(tmp_path: Path) -> None:
    ring = np.array([[np.cos(a), np.sin(a), 0] for a in np.arange(6) * np.pi / 3], np.float32)
    fan = Glb()
    fan.node(fan.mesh(fan.primitive(ring, mode=FAN)))
    (part,), _ = read(fan, tmp_path)
    assert triangles(part) == {frozenset(map(tuple, ring[[0, i, i + 1]].tolist())) for i in range(1, 5)}

    zigzag = np.array([[i // 2, i % 2, 0] for i in range(8)], np.float32)
    strip = Glb()
    # Two strips in one, joined by vertices that are named twice.
    indices = np.array([0, 1, 2, 3, 3, 4, 4, 5, 6, 7])[::-1]
    strip.node(strip.mesh(strip.primitive(zigzag[:, [0, 1, 2]], indices, mode=STRIP)))
    (part,), _ = read(strip, tmp_path)
    assert triangles(part) == {frozenset(map(tuple, zigzag[i : i + 3].tolist())) for i in (0, 1, 4, 5)}
    for one in (fan, strip):
        (part,), _ = read(one, tmp_path)
        corners = part.mesh.positions[part.mesh.faces]
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
        assert (flat > 0).all() or (flat < 0).all()


def test_primitives_that_share_their_vertices_take_only_their_own(tmp_path: Path) -> None:
    glb = Glb()
    positions, faces, normals, uvs = bumpy_sphere(2)
    place, turned, lay = (glb.accessor(values) for values in (positions, normals, uvs))
    halves = faces[: len(faces) // 2], faces[len(faces) // 2 :], faces[:2]
    glb.node(glb.mesh(*(glb.primitive(place, half, glb.material(), NORMAL=turned, TEXCOORD_0=lay) for half in halves)))
    parts, _ = read(glb, tmp_path)
    for part, half in zip(parts, halves, strict=True):
        assert len(part.mesh.positions) == len(np.unique(half))
        assert part.mesh.normals is not None
        assert part.mesh.uvs is not None
        assert np.array_equal(part.mesh.positions[part.mesh.faces], positions[half])
        assert np.array_equal(part.mesh.uvs[part.mesh.faces], uvs[half])
        assert np.allclose(part.mesh.normals[part.mesh.faces], normals[half], atol=1e-6)


def test_textures_lie_where_their_transform_says(tmp_path: Path) -> None:
    """Expected places by the shader code of the extension's specification."""
    offset, rotation, scale = (0.25, -0.5), 0.7, (2.0, 3.0)
    glb = Glb()
    move = {"offset": list(offset), "rotation": rotation, "scale": list(scale)}
    image = glb.texture((255, 0, 0))
    material = glb.material(
        base={"index": image, "extensions": {"KHR_texture_transform": move}},
        emissiveTexture={"index": image, "texCoord": 1},
        normalTexture={"index": image},
        occlusionTexture={"index": image, "texCoord": 7},
    )
    second = UVS[::-1].copy()
    glb.node(glb.mesh(glb.primitive(QUAD, CORNERS, material, TEXCOORD_0=UVS, TEXCOORD_1=second)))
    glb.document["extensionsRequired"] = ["KHR_texture_transform"]
    (part,), notices = read(glb, tmp_path)
    assert notices == ()
    assert part.mesh.uvs is not None
    assert np.array_equal(part.mesh.uvs, UVS)  # the normal map's, which is not moved
    assert np.array_equal(part.other_uvs["emissive"], second)
    x, y = UVS.T * np.array(scale)[:, None]
    cosine, sine = np.cos(rotation), np.sin(rotation)
    moved = np.stack([cosine * x + sine * y, -sine * x + cosine * y], axis=1) + offset
    assert np.allclose(part.other_uvs["base_color"], moved, atol=1e-6)


def test_a_skin_holds_its_mesh_where_its_joints_are(tmp_path: Path) -> None:
    """The mesh's own node does not count; half of the vertices hang on a joint that is turned and moved."""
    glb = Glb()
    positions, faces, normals, _ = cube()
    upper = positions[:, 1] > 0
    joints = np.zeros((len(positions), 4), np.uint8)
    joints[upper, 0] = 1
    weights = np.zeros((len(positions), 4), np.float32)
    weights[:, 0] = 0.5  # not normalised, as some exporters have it
    skinned = glb.mesh(glb.primitive(positions, faces, NORMAL=normals, JOINTS_0=joints, WEIGHTS_0=weights))
    root = glb.node(scale=[0.5, 0.5, 0.5])
    joint = glb.node(parent=root, translation=[2.0, 0.0, 0.0])
    glb.node(skinned, translation=[9.0, 9.0, 9.0], skin=0)
    inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    inverse[1, 1, 3] = -0.25
    stored = glb.accessor(inverse.transpose(0, 2, 1).reshape(2, 16).copy())
    glb.add("skins", {"joints": [root, joint], "inverseBindMatrices": stored})
    (part,), notices = read(glb, tmp_path)
    assert notices == ("The bones of a skin were left out; its mesh is as they hold it.",)
    expected = np.where(upper[:, None], (positions + np.array([2.0, -0.25, 0.0])) * 0.5, positions * 0.5)
    assert np.allclose(part.mesh.positions, expected, atol=1e-6)
    assert part.mesh.normals is not None
    assert np.allclose(part.mesh.normals, normals, atol=1e-6)
    del glb.document["scenes"][0]["nodes"][0]
    (part,), notices = read(glb, tmp_path)
    assert notices == ("A skin without its joints was left out.",)
    assert np.allclose(part.mesh.positions, positions + 9)


def test_colors_without_a_material_are_no_metal(tmp_path: Path) -> None:
    glb = Glb()
    colors = glb.accessor(np.full((4, 4), 200, np.uint8), normalized=True)
    glb.node(glb.mesh(glb.primitive(QUAD, CORNERS, COLOR_0=colors)))
    (part,), _ = read(glb, tmp_path)
    assert part.material == Material(metallic_factor=0.0, roughness_factor=0.5, double_sided=True)


def test_an_old_glossy_material_keeps_its_color(tmp_path: Path) -> None:
    glb = Glb()
    image = glb.texture((255, 0, 0))
    old = {"diffuseFactor": [0.5, 0.25, 1, 1], "diffuseTexture": {"index": image, "texCoord": 1}}
    glossy = {"KHR_materials_pbrSpecularGlossiness": {**old, "glossinessFactor": 0.75}}
    glb.add("materials", {"extensions": glossy})
    glb.node(glb.mesh(glb.primitive(QUAD, CORNERS, 0, TEXCOORD_0=UVS[::-1].copy(), TEXCOORD_1=UVS)))
    (part,), notices = read(glb, tmp_path)
    assert notices == ("KHR_materials_pbrSpecularGlossiness has no place in a rebuilt material.",)
    assert part.material.base_color_factor == (0.5, 0.25, 1.0, 1.0)
    assert part.material.base_color is not None
    assert (part.material.metallic_factor, part.material.roughness_factor) == (0.0, 0.25)
    assert part.mesh.uvs is not None
    assert np.array_equal(part.mesh.uvs, UVS)


def sound() -> Glb:
    """Return a quad with a texture and UVs."""
    glb = Glb()
    material = glb.material(base={"index": glb.texture((9, 9, 9))})
    glb.node(glb.mesh(glb.primitive(QUAD, CORNERS, material, TEXCOORD_0=UVS)))
    return glb


def _extension(glb: Glb, name: str, **content: Any) -> None:
    glb.document["materials"][0].setdefault("extensions", {})[name] = content
    glb.document["extensionsRequired"] = [name]


def _targets(glb: Glb) -> None:
    glb.document["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": 0}]


def _line(glb: Glb) -> None:
    glb.document["meshes"][0]["primitives"].append(glb.primitive(QUAD, np.arange(4), mode=1))


def _no_uvs(glb: Glb) -> None:
    del glb.document["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]


def _other_map(glb: Glb) -> None:
    glb.document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] = 3


def _no_map(glb: Glb) -> None:
    glb.document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] = -1


def _one_way(glb: Glb) -> None:
    glb.document["samplers"][0].update(wrapS=33071, wrapT=10497)


LOST = "Textures of a mesh without the UV map for them were left out."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda glb: _extension(glb, "KHR_materials_unlit"), "KHR_materials_unlit has no place in a rebuilt material."),
        (lambda glb: _extension(glb, "KHR_materials_ior"), "KHR_materials_ior has no place in a rebuilt material."),
        (lambda glb: glb.add("animations", {}), "Animations were left out."),
        (lambda glb: glb.add("cameras", {}), "Cameras were left out."),
        (lambda glb: glb.document.update(extensions={"KHR_lights_punctual": {}}), "Lights were left out."),
        (lambda glb: glb.add("scenes", {}), "Only the file's main scene was rebuilt."),
        (_targets, "Shape keys were left out."),
        (_line, "Points and lines were left out."),
        (_no_uvs, LOST),
        (_other_map, LOST),
        (_no_map, LOST),
        (_one_way, "A texture that repeats in one direction only was taken to repeat in both."),
    ],
)
def test_what_is_left_out_is_said(change: Any, sentence: str, tmp_path: Path) -> None:
    glb = sound()
    (whole,), notices = read(glb, tmp_path)
    assert notices == ()
    change(glb)
    (part,), notices = read(glb, tmp_path)
    assert notices == (sentence,)
    assert triangles(part) == triangles(whole)
    assert (part.material.base_color is None) == (sentence == LOST)
    if "repeats" in sentence:
        assert part.material.base_color is not None
        assert part.material.base_color.wrap == "repeat"
    else:
        assert part.material == (Material() if sentence == LOST else whole.material)


def _bomb(glb: Glb) -> None:
    """Show a fan of a hundred thousand triangles many times."""
    glb.document["meshes"][0]["primitives"] = [glb.primitive(QUAD, np.zeros(100_000), mode=FAN)]
    for _ in range(400):
        glb.node(0)


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        (lambda glb: glb.nodes[0].update(children=[0]), "glb_invalid", "circle"),
        (lambda glb: glb.nodes[0].update(scale=[1e30] * 3, translation=[1e300] * 3), "glb_invalid", "range"),
        (lambda glb: glb.nodes[0].pop("mesh"), "glb_unsupported", "without a mesh"),
        (lambda glb: glb.document["scenes"][0].update(nodes=[]), "glb_unsupported", "without a mesh"),
        (lambda glb: glb.document["meshes"][0]["primitives"][0].update(mode=1), "mesh_empty", ""),
        (lambda glb: glb.document["meshes"][0]["primitives"][0].update(mode=9), "glb_invalid", "mode 9"),
        (
            lambda glb: glb.document["meshes"][0]["primitives"][0].update(
                extensions={"KHR_draco_mesh_compression": {}}
            ),
            "glb_unsupported",
            "KHR_draco_mesh_compression",
        ),
        (
            lambda glb: glb.document["bufferViews"][0].update(extensions={"EXT_meshopt_compression": {}}),
            "glb_unsupported",
            "EXT_meshopt_compression",
        ),
        (
            lambda glb: glb.nodes[0].update(extensions={"EXT_mesh_gpu_instancing": {}}),
            "glb_unsupported",
            "EXT_mesh_gpu_instancing",
        ),
        (lambda glb: glb.document.update(extensionsRequired=["X_unknown"]), "glb_unsupported", "X_unknown"),
        (lambda glb: glb.document["images"].__setitem__(0, {"uri": "a.png"}), "glb_unsupported", "outside"),
        (lambda glb: [glb.node(0) for _ in range(70_000)], "glb_unsupported", "65,536 parts"),
        (_bomb, "glb_unsupported", "32,000,000 triangles"),
    ],
)
def test_what_cannot_be_read_is_refused(change: Any, code: str, reason: str, tmp_path: Path) -> None:
    glb = sound()
    change(glb)
    with pytest.raises(EspalierError) as caught:
        read(glb, tmp_path)
    assert caught.value.code == code
    assert reason in str(caught.value)
