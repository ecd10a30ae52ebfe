# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written can be read, is laid out as glTF asks, and appears whole or not at all."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh.glb import Material, Mesh, Texture, read_glb, write_glb
from tests.support.meshes import bumpy_sphere, cube, encoded_image, unpack_glb

PNG = Texture(encoded_image(), "image/png")
JPEG = Texture(encoded_image(kind="JPEG"), "image/jpeg", wrap="clamp")
WEBP = Texture(encoded_image(kind="WEBP"), "image/webp", wrap="mirror", nearest=True)
FULL = Material(
    name="Über 材质",
    base_color_factor=(0.1, 0.2, 0.3, 0.4),
    metallic_factor=0.25,
    roughness_factor=0.75,
    emissive_factor=(0.5, 0.0, 1.0),
    base_color=PNG,
    metallic_roughness=JPEG,
    normal=WEBP,
    normal_scale=0.5,
    occlusion=JPEG,
    occlusion_strength=0.5,
    emissive=dataclasses.replace(PNG, wrap="mirror"),
    alpha_mode="MASK",
    alpha_cutoff=0.3,
    double_sided=True,
)


def grid(vertices: int) -> Mesh:
    """Return a strip of triangles that uses exactly `vertices` vertices."""
    x = np.arange(vertices, dtype=np.float32)
    positions = np.stack([x, x % 2, np.zeros_like(x)], axis=1)
    start = np.arange(vertices - 2, dtype=np.uint32)
    return Mesh(positions, np.stack([start, start + 1, start + 2], axis=1))


def assert_same(a: Mesh, b: Mesh) -> None:
    """Compare two meshes bit by bit."""
    for field in ("positions", "faces", "normals", "uvs"):
        left, right = getattr(a, field), getattr(b, field)
        assert (left is None) == (right is None), field
        if left is not None:
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("with_normals", [False, True])
@pytest.mark.parametrize("with_uvs", [False, True])
def test_round_trip(tmp_path: Path, with_normals: bool, with_uvs: bool) -> None:
    positions, faces, normals, uvs = bumpy_sphere(3)
    mesh = Mesh(positions, faces, normals if with_normals else None, uvs if with_uvs else None)
    material = FULL if with_uvs else Material("Plain")
    path = tmp_path / "名 name.glb"
    write_glb(path, mesh, material, name="椅子")
    read, read_material = read_glb(path)
    if with_normals:  # the reader brings normals to unit length, which may turn their last bit
        np.testing.assert_allclose(read.normals, normals, atol=1e-7)
        read.normals = mesh.normals
    assert_same(read, mesh)
    assert read_material == material
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("vertices", "width"), [(255, 5123), (65535, 5123), (65536, 5125)])
def test_indices_are_as_narrow_as_the_vertices_allow(tmp_path: Path, vertices: int, width: int) -> None:
    path = tmp_path / "a.glb"
    write_glb(path, grid(vertices), Material())
    document, _ = unpack_glb(path.read_bytes())
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["indices"]]
    assert accessor["componentType"] == width
    assert_same(read_glb(path)[0], grid(vertices))


def test_layout(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    positions, faces, normals, uvs = cube()
    write_glb(path, Mesh(positions, faces, normals, uvs), FULL, name="Cube", extras={"seed": 42, "名": [1.5, None]})
    data = path.read_bytes()
    document, binary = unpack_glb(data)
    assert len(data) % 4 == 0
    assert len(binary) == document["buffers"][0]["byteLength"]
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])
    ends = [view["byteOffset"] + view["byteLength"] for view in document["bufferViews"]]
    assert all(a <= view["byteOffset"] for a, view in zip(ends, document["bufferViews"][1:], strict=False))
    position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    assert (position["min"], position["max"]) == ([-0.5] * 3, [0.5] * 3)
    assert document["asset"] == {"version": "2.0", "generator": "Espalier", "extras": {"seed": 42, "名": [1.5, None]}}
    assert document["extensionsUsed"] == document["extensionsRequired"] == ["EXT_texture_webp"]
    assert len(document["images"]) == 3, "an image is embedded once however often it is used"
    assert len(document["textures"]) == 4
    assert len(document["samplers"]) == 4


def test_extensions_are_named_only_where_used(tmp_path: Path) -> None:
    positions, faces, normals, uvs = cube()
    write_glb(tmp_path / "a.glb", Mesh(positions, faces, normals, uvs), Material(base_color=PNG))
    assert "extensionsUsed" not in unpack_glb((tmp_path / "a.glb").read_bytes())[0]


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", grid(3), Material(name="\ud800"), name="\udcff")
    assert read_glb(tmp_path / "a.glb")[1].name == "?"


def broken() -> dict[str, tuple[Mesh, Material]]:
    """Return meshes and materials that no valid GLB can hold."""
    sound = grid(4)
    nan = sound.positions.copy()
    nan[2, 1] = np.nan
    long = np.tile(np.array([0, 0, 2], np.float32), (4, 1))
    return {
        "no faces": (Mesh(sound.positions, np.zeros((0, 3), np.uint32)), Material()),
        "NaN": (Mesh(nan, sound.faces), Material()),
        "index": (Mesh(sound.positions, sound.faces + np.uint32(2)), Material()),
        "type": (Mesh(sound.positions.astype(np.float64), sound.faces), Material()),  # type: ignore[arg-type]
        "shape": (Mesh(sound.positions[:, :2], sound.faces), Material()),
        "normals": (Mesh(sound.positions, sound.faces, long), Material()),
        "uvs": (Mesh(sound.positions, sound.faces, None, np.zeros((3, 2), np.float32)), Material()),
        "factor": (sound, Material(roughness_factor=1.5)),
        "image": (sound, Material(base_color=Texture(PNG.data, "image/jpeg"))),
    }


@pytest.mark.parametrize("case", broken())
def test_what_no_file_can_hold_is_refused(tmp_path: Path, case: str) -> None:
    mesh, material = broken()[case]
    with pytest.raises(ValueError, match=r"."):
        write_glb(tmp_path / "a.glb", mesh, material)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(b"before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EspalierError) as caught:
        write_glb(path, grid(4), Material())
    assert caught.value.code == "disk_full"
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.glb"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EspalierError) as caught:
        write_glb(tmp_path / "missing" / "a.glb", grid(4), Material())
    assert caught.value.code == "output_unwritable"
