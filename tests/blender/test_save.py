# SPDX-License-Identifier: GPL-3.0-or-later
"""A .blend that holds only the asset, and the preview: both whole or absent, both leaving the open file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests.support import extension
from tests.support.meshes import bumpy_sphere, encoded_image


@pytest.fixture(autouse=True)
def _empty(empty_scene: None) -> None:
    """Each test has an empty scene."""


def placed(tmp_path: Path, name: str = "椅子 chair", color: tuple[float, float, float] = (1, 1, 1)) -> bpy.types.Object:
    """Return an imported bumpy sphere in the open scene, beside a cube of the artist's."""
    g = extension.module("engine.mesh.glb")
    positions, faces, normals, uvs = bumpy_sphere(4)
    material = g.Material(
        base_color=None if color != (1, 1, 1) else g.Texture(encoded_image(64), "image/png"),
        base_color_factor=(*color, 1.0),
        metallic_factor=0.0,
        roughness_factor=1.0,
    )
    g.write_glb(tmp_path / "a.glb", g.Mesh(positions, faces, normals, uvs), material)
    extension.module("engine.mesh.prepare").prepare(tmp_path / "a.glb", tmp_path / "import")
    created = extension.module("operators.scene.importer").import_prepared(tmp_path / "import", name)
    placement = extension.module("operators.scene.placement")
    placement.set_origin_to_base(created)
    placement.write_properties(created, {"seed": 7})
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.name = "Secret"
    placement.place(bpy.context, created, bpy.context.scene, None, (1.0, 2.0, 3.0))
    return created


def state() -> dict[str, Any]:
    """Return what may not change: the data-blocks, the selection, the settings of the open scene."""
    scene = bpy.context.scene
    return {
        **{kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in BLOCKS},
        "scene": scene.name,
        "engine": scene.render.engine,
        "path": scene.render.filepath,
        "size": (scene.render.resolution_x, scene.render.resolution_y),
        "view": scene.view_settings.view_transform,
        "selected": [item.name for item in bpy.context.view_layer.objects.selected],
        "active": bpy.context.view_layer.objects.active.name,
        "file": bpy.data.filepath,
    }


BLOCKS = ("scenes", "objects", "meshes", "materials", "worlds", "lights", "cameras", "collections", "node_groups")


def save(path: Path, *objects: bpy.types.Object) -> None:
    extension.module("operators.scene.save").save_blend(path, *objects)


def render(target: bpy.types.Object, path: Path, size: int = 96) -> np.ndarray:
    """Render and return the picture, display values (size, size, 3) from the top."""
    from PIL import Image

    extension.module("operators.scene.preview").render_preview(target, path, size)
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (size, size))
        return np.asarray(image, dtype=float) / 255


def test_it_opens_with_the_asset_alone(tmp_path: Path) -> None:
    created = placed(tmp_path)
    before = state()
    path = tmp_path / "out" / "椅子.blend"
    path.parent.mkdir()
    save(path, created)
    assert state() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes()[:4] == b"\x28\xb5\x2f\xfd", "it is compressed with Zstandard"
    for file in (tmp_path / "import").iterdir():
        file.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(path))
    (loaded,) = bpy.context.scene.objects
    assert (loaded.name, tuple(loaded.location)) == ("椅子 chair", (1.0, 2.0, 3.0))
    assert loaded.visible_get()
    assert loaded.select_get()
    assert bpy.context.view_layer.objects.active == loaded
    assert loaded["espalier"]["seed"] == 7
    assert "Secret" not in bpy.data.objects
    assert len(bpy.data.scenes) == len(bpy.data.meshes) == 1
    assert not bpy.data.libraries
    images = [image for image in bpy.data.images if image.source == "FILE"]
    assert [(image.packed_file is not None, tuple(image.size)) for image in images] == [(True, (64, 64))]
    assert loaded.data.validate() is False


def test_several_assets_in_one_file(tmp_path: Path) -> None:
    first = placed(tmp_path, "First")
    second = first.copy()
    second.name = "Second"
    save(tmp_path / "both.blend", first, second)
    assert second.users_collection == ()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "both.blend"))
    assert sorted(item.name for item in bpy.context.scene.objects) == ["First", "Second"]


def test_a_file_that_is_there_stays_when_saving_fails(tmp_path: Path) -> None:
    created = placed(tmp_path)
    before = state()
    with pytest.raises(extension.module("engine.errors").EspalierError) as caught:
        save(tmp_path / "missing" / "a.blend", created)
    assert caught.value.code == "output_unwritable"
    assert state() == before


def test_a_preview_leaves_everything_as_it_was(tmp_path: Path) -> None:
    created = placed(tmp_path)
    before = state()
    render(created, tmp_path / "预览.png")
    assert state() == before
    assert created.users_scene == (bpy.context.scene,)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("color", [(0.8, 0.02, 0.02), (0.02, 0.5, 0.05), (0.6, 0.6, 0.6)], ids=["red", "green", "grey"])
def test_a_preview_shows_the_color_in_the_middle(tmp_path: Path, color: tuple[float, float, float]) -> None:
    """The picture's middle has the material's color, as bright as a well lit photograph; nothing is burned out."""
    picture = render(placed(tmp_path, color=color), tmp_path / "a.png")
    middle = np.median(picture[36:60, 36:60].reshape(-1, 3), axis=0)
    linear = np.where(middle <= 0.04045, middle / 12.92, ((middle + 0.055) / 1.055) ** 2.4)
    strongest = int(np.argmax(color))
    assert 0.5 < linear[strongest] / color[strongest] < 1.3
    for channel in range(3):
        assert linear[channel] / linear[strongest] == pytest.approx(color[channel] / color[strongest], abs=0.08)
    assert (picture > 0.995).all(axis=2).mean() < 0.01


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_a_preview_is_framed_at_any_size(tmp_path: Path, scale: float) -> None:
    """The subject fills four fifths of the picture, is in its middle and touches no side."""
    created = placed(tmp_path, color=(0.8, 0.02, 0.02))
    created.scale = (scale,) * 3
    bpy.context.view_layer.update()
    picture = render(created, tmp_path / "a.png")
    subject = picture[:, :, 0] > picture[:, :, 1] + 0.25
    rows, columns = np.flatnonzero(subject.any(axis=1)), np.flatnonzero(subject.any(axis=0))
    size = len(picture)
    assert 0.7 * size < max(np.ptp(rows), np.ptp(columns)) + 1 < 0.92 * size
    assert abs(rows[0] + rows[-1] - size + 1) < 0.08 * size
    assert abs(columns[0] + columns[-1] - size + 1) < 0.08 * size


def test_nothing_to_show(tmp_path: Path) -> None:
    empty = bpy.data.objects.new("Nothing", None)
    with pytest.raises(extension.module("engine.errors").EspalierError) as caught:
        extension.module("operators.scene.preview").render_preview(empty, tmp_path / "a.png")
    assert caught.value.code == "preview_failed"


def test_a_preview_that_cannot_be_written(tmp_path: Path) -> None:
    created = placed(tmp_path)
    before = state()
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(extension.module("engine.errors").EspalierError) as caught:
        render(created, tmp_path / "file" / "a.png")
    assert caught.value.code in ("output_unwritable", "preview_failed")
    assert state() == before
