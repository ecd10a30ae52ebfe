# SPDX-License-Identifier: GPL-3.0-or-later
"""The prepared folder: what is in it, that it is whole or absent, and what is said of transparency."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh.glb import Material, Mesh, Texture, read_glb, write_glb
from engine.mesh.model import AlphaMode
from engine.mesh.prepare import prepare
from engine.progress import Cancelled
from tests.support.meshes import bumpy_sphere, cube, encoded_image, pack_glb, unpack_glb

PLAIN = Material()


def texture(**options: Any) -> Texture:
    return Texture(encoded_image(**options), "image/png")


def written(folder: Path, material: Material = PLAIN, shape: Any = cube) -> Path:
    positions, faces, normals, uvs = shape()
    path = folder / "asset.glb"
    write_glb(path, Mesh(positions, faces, normals, uvs), material)
    return path


def description(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "import.json").read_text("utf-8"))
    return result


class Recorder:
    """A run that notes its progress and can be cancelled at a fraction of it."""

    def __init__(self, stop: float = 2.0) -> None:
        self.fractions: list[float] = []
        self.stop = stop

    def progress(self, fraction: float, note: str = "") -> None:
        self.fractions.append(fraction)
        if fraction >= self.stop:
            raise Cancelled


def test_arrays(tmp_path: Path) -> None:
    glb = written(tmp_path, Material(base_color=texture()), lambda: bumpy_sphere(3))
    folder = tmp_path / "import"
    facts = prepare(glb, folder)
    source, _ = read_glb(glb)
    arrays = {file.stem: np.load(file, mmap_mode="r") for file in folder.glob("*.npy")}
    v, f, e = facts["vertices"], facts["faces"], facts["edges"]
    assert {name: (array.dtype, array.shape) for name, array in arrays.items()} == {
        "position": (np.float32, (v, 3)),
        "corner_vert": (np.int32, (3 * f,)),
        "edge_vert": (np.int32, (e, 2)),
        "corner_edge": (np.int32, (3 * f,)),
        "uv": (np.float32, (3 * f, 2)),
    }
    corners = source.faces.reshape(-1)
    np.testing.assert_array_equal(arrays["position"][arrays["corner_vert"]], source.positions[corners])
    assert source.uvs is not None
    np.testing.assert_array_equal(arrays["uv"], source.uvs[corners])
    following = np.roll(arrays["corner_vert"].reshape(-1, 3), -1, axis=1).reshape(-1)
    ends = np.sort(np.stack([arrays["corner_vert"], following], axis=1), axis=1)
    np.testing.assert_array_equal(arrays["edge_vert"][arrays["corner_edge"]], ends)
    assert facts == {
        "vertices": 642,
        "faces": 1280,
        "edges": 1920,
        "texture_size": 8,
        "alpha_mode": "OPAQUE",
        "degenerate_faces": 0,
        "duplicate_faces": 0,
    }
    assert description(folder)["vertices"] == 642
    assert not description(folder)["flat"]


def test_hard_edges_only_where_there_are_some(tmp_path: Path) -> None:
    prepare(written(tmp_path), tmp_path / "import")
    assert np.load(tmp_path / "import" / "sharp_edge.npy").sum() == 12


def test_a_file_without_normals_is_flat(tmp_path: Path) -> None:
    positions, faces, _, uvs = cube()
    write_glb(tmp_path / "a.glb", Mesh(positions, faces, None, uvs), Material())
    prepare(tmp_path / "a.glb", tmp_path / "import")
    assert description(tmp_path / "import")["flat"]
    assert not (tmp_path / "import" / "sharp_edge.npy").exists()


def test_images_keep_their_bytes_and_are_written_once(tmp_path: Path) -> None:
    shared = Texture(encoded_image(16, "JPEG"), "image/jpeg")
    webp = Texture(encoded_image(4, "WEBP"), "image/webp", wrap="clamp", nearest=True)
    material = Material(base_color=webp, metallic_roughness=shared, occlusion=shared)
    prepare(written(tmp_path, material), tmp_path / "import")
    images = description(tmp_path / "import")["images"]
    base_color = {"file": "base_color.webp", "width": 4, "height": 4, "wrap": "clamp", "nearest": True}
    assert images["base_color"] == base_color
    assert images["occlusion"]["file"] == images["metallic_roughness"]["file"] == "metallic_roughness.jpg"
    assert (tmp_path / "import" / "metallic_roughness.jpg").read_bytes() == shared.data
    assert len([file for file in (tmp_path / "import").iterdir() if file.suffix in (".webp", ".jpg")]) == 2


@pytest.mark.parametrize(
    ("mode", "alpha", "factor", "cutoff", "transparent"),
    [
        ("OPAQUE", 0, 0.5, 0.5, False),
        ("BLEND", None, 1.0, 0.5, False),
        ("BLEND", 255, 1.0, 0.5, False),
        ("BLEND", 254, 1.0, 0.5, True),
        ("BLEND", None, 0.9, 0.5, True),
        ("MASK", 200, 1.0, 0.5, False),
        ("MASK", 100, 1.0, 0.5, True),
        ("MASK", 200, 0.5, 0.5, True),
    ],
)
def test_transparent_only_where_something_is(
    tmp_path: Path, mode: AlphaMode, alpha: int | None, factor: float, cutoff: float, transparent: bool
) -> None:
    material = Material(
        base_color=texture(alpha=alpha),
        base_color_factor=(1.0, 1.0, 1.0, factor),
        alpha_mode=mode,
        alpha_cutoff=cutoff,
    )
    prepare(written(tmp_path, material), tmp_path / "import")
    assert description(tmp_path / "import")["material"]["transparent"] is transparent


def test_progress_and_cancel(tmp_path: Path) -> None:
    glb = written(tmp_path, Material(base_color=texture(), normal=texture(seed=2)))
    whole = Recorder()
    prepare(glb, tmp_path / "import", whole)
    assert whole.fractions == sorted(whole.fractions)
    assert (whole.fractions[0], whole.fractions[-1]) == (0.0, 1.0)
    for fraction in whole.fractions[:-1]:
        with pytest.raises(Cancelled):
            prepare(glb, tmp_path / "cancelled", Recorder(fraction))
        assert {entry.name for entry in tmp_path.iterdir()} == {"asset.glb", "import"}


def test_a_folder_that_is_there_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "import"
    folder.mkdir()
    (folder / "left-over.npy").write_bytes(b"old")
    prepare(written(tmp_path), folder)
    assert not (folder / "left-over.npy").exists()


def test_what_cannot_be_prepared_leaves_nothing(tmp_path: Path) -> None:
    document, binary = unpack_glb(written(tmp_path).read_bytes())
    document["meshes"][0]["primitives"] *= 2
    (tmp_path / "asset.glb").write_bytes(pack_glb(document, binary))
    with pytest.raises(EspalierError) as caught:
        prepare(tmp_path / "asset.glb", tmp_path / "import")
    assert caught.value.code == "glb_unsupported"
    assert [entry.name for entry in tmp_path.iterdir()] == ["asset.glb"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_texture_is_noticed(tmp_path: Path, kind: str) -> None:
    whole = encoded_image(64, kind)
    material = Material(base_color=Texture(whole[: len(whole) * 2 // 3], f"image/{kind.lower()}"))  # type: ignore[arg-type]
    with pytest.raises(EspalierError, match="base color texture cannot be used, it is damaged"):
        prepare(written(tmp_path, material), tmp_path / "import")
    assert [entry.name for entry in tmp_path.iterdir()] == ["asset.glb"]


def test_a_texture_that_is_a_bomb(tmp_path: Path) -> None:
    bomb = bytearray(encoded_image())
    bomb[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    with pytest.raises(EspalierError) as caught:
        prepare(written(tmp_path, Material(base_color=Texture(bytes(bomb), "image/png"))), tmp_path / "import")
    assert caught.value.code == "glb_invalid"


def test_a_mesh_of_nothing_but_lines(tmp_path: Path) -> None:
    positions = np.zeros((3, 3), np.float32)
    write_glb(tmp_path / "a.glb", Mesh(positions, np.array([[0, 1, 2]], np.uint32)), Material())
    with pytest.raises(EspalierError, match="degenerate"):
        prepare(tmp_path / "a.glb", tmp_path / "import")
