# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a finished asset appears, what it carries, and what stays untouched; also for files we do not prepare."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.support import extension
from tests.support.meshes import bumpy_sphere, encoded_image, pack_glb, unpack_glb


@pytest.fixture(autouse=True)
def _empty(empty_scene: None) -> None:
    """Each test has an empty scene."""


def asset() -> Any:
    return extension.module("operators.scene.asset")


def finished_job(tmp_path: Path, name: str = "Armchair", prepare: bool = True) -> Any:
    """Return a job whose result, a bumpy sphere, lies in the library."""
    g = extension.module("engine.mesh.glb")
    job_module = extension.module("engine.jobs.job")
    request = extension.module("engine.request").GenerationRequest.create(
        tmp_path / f"{name}.png", "draft", {"seed": 7, "texture_size": "1024"}
    )
    folder = tmp_path / "library" / "0123"
    folder.mkdir(parents=True)
    positions, faces, normals, uvs = bumpy_sphere(3)
    texture = g.Texture(encoded_image(), "image/png")
    g.write_glb(folder / "asset.glb", g.Mesh(positions, faces, normals, uvs), g.Material(base_color=texture))
    if prepare:
        extension.module("engine.mesh.prepare").prepare(folder / "asset.glb", folder / "import")
    result = {"engine": "draft", "engine_version": "1.2", "espalier_version": "0.1.0"}
    return job_module.Job("0123", request, job_module.State.READY, folder=folder, result=result)


def cuboid(scene: bpy.types.Scene, name: str = "Mine") -> bpy.types.Object:
    """Return an object of the artist's own, selected and active."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    mine = bpy.data.objects.new(name, mesh)
    scene.collection.objects.link(mine)
    mine.select_set(True)
    bpy.context.view_layer.objects.active = mine
    return mine


def world_corners(target: bpy.types.Object) -> np.ndarray:
    """Return the lowest and the highest corner of `target` and what hangs below it, in world space (2, 3)."""
    bpy.context.view_layer.update()
    points = [
        item.matrix_world @ vertex.co
        for item in (target, *target.children_recursive)
        if item.type == "MESH"
        for vertex in item.data.vertices
    ]
    return np.array([np.min(points, axis=0), np.max(points, axis=0)])


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "stock"])
def test_it_stands_on_its_base_at_the_location(tmp_path: Path, prepare: bool) -> None:
    scene = bpy.context.scene
    created = asset().place_asset(bpy.context, finished_job(tmp_path, prepare=prepare), scene, None, (1.0, -2.0, 3.0))
    assert created.type == "MESH"
    low, high = world_corners(created)
    assert low[2] == pytest.approx(3.0, abs=1e-6)
    np.testing.assert_allclose((low + high)[:2] / 2, (1.0, -2.0), atol=1e-6)
    np.testing.assert_array_equal(created.location, (1.0, -2.0, 3.0))
    assert high[2] - low[2] == pytest.approx(0.94, abs=0.05)
    np.testing.assert_array_equal(created.rotation_euler, (0, 0, 0))
    np.testing.assert_array_equal(created.scale, (1, 1, 1))


def test_the_front_faces_minus_y(tmp_path: Path) -> None:
    """glTF's +Z, the front, becomes Blender's -Y; its +Y, up, becomes +Z."""
    g = extension.module("engine.mesh.glb")
    positions = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.7, 0], [0, 0, 0.4]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint32)
    g.write_glb(tmp_path / "a.glb", g.Mesh(positions, faces), g.Material())
    extension.module("engine.mesh.prepare").prepare(tmp_path / "a.glb", tmp_path / "import")
    mesh = extension.module("operators.scene.importer").import_prepared(tmp_path / "import", "A").data
    found = {tuple(round(x, 4) for x in vertex.co) for vertex in mesh.vertices}
    assert found == {(0, 0, 0), (0.1, 0, 0), (0, 0, 0.7), (0, -0.4, 0)}
    center = sum((vertex.co for vertex in mesh.vertices), Vector()) / 4
    assert all(face.normal.dot(face.center - center) > 0 for face in mesh.polygons)


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "stock"])
def test_selected_and_active_alone_and_nothing_else_changed(tmp_path: Path, prepare: bool) -> None:
    scene = bpy.context.scene
    mine = cuboid(scene)
    scene.cursor.location = (4, 5, 6)
    before = {name: len(getattr(bpy.data, name)) for name in ("scenes", "collections", "cameras", "lights", "worlds")}
    created = asset().place_asset(bpy.context, finished_job(tmp_path, prepare=prepare), scene)
    assert bpy.context.view_layer.objects.active == created
    assert list(bpy.context.view_layer.objects.selected) == [created]
    np.testing.assert_array_equal(created.location, (4, 5, 6))
    assert (mine.name, tuple(mine.location), mine.users_collection) == ("Mine", (0, 0, 0), (scene.collection,))
    assert {name: len(getattr(bpy.data, name)) for name in before} == before
    assert created.name == created.data.name == "Armchair"
    assert created.users_collection == (scene.collection,)


def test_the_name_of_another_object_stays_its_own(tmp_path: Path) -> None:
    mine = cuboid(bpy.context.scene, "Armchair")
    created = asset().place_asset(bpy.context, finished_job(tmp_path), bpy.context.scene)
    assert mine.name == "Armchair"
    assert created.name == "Armchair.001"


def test_a_chosen_collection(tmp_path: Path) -> None:
    scene = bpy.context.scene
    wanted = bpy.data.collections.new("Props")
    scene.collection.children.link(wanted)
    created = asset().place_asset(bpy.context, finished_job(tmp_path), scene, wanted)
    assert created.users_collection == (wanted,)


@pytest.mark.parametrize("how", ["excluded", "hidden", "elsewhere"])
def test_a_collection_in_which_it_would_not_be_seen(tmp_path: Path, how: str) -> None:
    scene = bpy.context.scene
    wanted = bpy.data.collections.new("Props")
    if how != "elsewhere":
        scene.collection.children.link(wanted)
        layer = bpy.context.view_layer.layer_collection.children["Props"]
        layer.exclude, layer.hide_viewport = how == "excluded", how == "hidden"
    created = asset().place_asset(bpy.context, finished_job(tmp_path), scene, wanted)
    assert created.users_collection == (scene.collection,)
    assert created.visible_get()
    assert created.select_get()


def test_the_active_collection_is_the_default(tmp_path: Path) -> None:
    scene = bpy.context.scene
    wanted = bpy.data.collections.new("Props")
    scene.collection.children.link(wanted)
    layer = bpy.context.view_layer
    layer.active_layer_collection = layer.layer_collection.children["Props"]
    assert asset().place_asset(bpy.context, finished_job(tmp_path), scene).users_collection == (wanted,)


def test_another_scene_than_the_open_one(tmp_path: Path) -> None:
    mine = cuboid(bpy.context.scene)
    other = bpy.data.scenes.new("Other")
    created = asset().place_asset(bpy.context, finished_job(tmp_path), other)
    assert created.users_scene == (other,)
    assert created.select_get(view_layer=other.view_layers[0])
    assert mine.select_get()
    assert bpy.context.view_layer.objects.active == mine


def test_an_artist_at_work_is_not_interrupted(tmp_path: Path) -> None:
    mine = cuboid(bpy.context.scene)
    bpy.ops.object.mode_set(mode="EDIT")
    created = asset().place_asset(bpy.context, finished_job(tmp_path), bpy.context.scene)
    assert bpy.context.view_layer.objects.active == mine
    assert mine.mode == "EDIT"
    assert mine.select_get()
    assert created.users_scene == (bpy.context.scene,)


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "stock"])
def test_the_request_is_on_the_object(tmp_path: Path, prepare: bool) -> None:
    job = finished_job(tmp_path, "椅子 chair", prepare)
    created = asset().place_asset(bpy.context, job, bpy.context.scene)
    placement = extension.module("operators.scene.placement")
    stored = placement.read_properties(created)
    assert stored == {
        "name": "椅子 chair",
        "image": job.request.image,
        "engine": "draft",
        "engine_version": "1.2",
        "espalier_version": "0.1.0",
        "job": "0123",
        **job.request.parameters,
    }
    assert created["espalier"]["seed"] == 7
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert placement.read_properties(bpy.data.objects["椅子 chair"]) == stored
    assert placement.read_properties(cuboid(bpy.context.scene)) == {}


def everything() -> dict[str, int]:
    kinds = ("objects", "meshes", "materials", "images", "node_groups", "collections", "scenes", "actions")
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "stock"])
def test_discarded_without_a_trace(tmp_path: Path, prepare: bool) -> None:
    cuboid(bpy.context.scene)
    before = everything()
    created = asset().place_asset(bpy.context, finished_job(tmp_path, prepare=prepare), bpy.context.scene)
    assert everything() != before
    asset().discard_asset(created)
    assert everything() == before


def test_a_failure_while_placing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = cuboid(bpy.context.scene)
    before = everything()

    def broken(*_arguments: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(asset(), "place", broken)
    with pytest.raises(RuntimeError, match="broken"):
        asset().place_asset(bpy.context, finished_job(tmp_path), bpy.context.scene)
    assert everything() == before
    assert mine.select_get()


def test_missing_files(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    shutil.rmtree(job.folder)
    with pytest.raises(extension.module("engine.errors").EspalierError) as caught:
        asset().place_asset(bpy.context, job, bpy.context.scene)
    assert caught.value.code == "asset_missing"


def two_objects(job: Any) -> None:
    """Make the job's file one of two objects, of which one is moved and mirrored."""
    path = job.folder / "asset.glb"
    document, binary = unpack_glb(path.read_bytes())
    document["nodes"] = [
        {"mesh": 0, "name": "A"},
        {"mesh": 0, "name": "B", "translation": [2, 0, 0], "scale": [-1, 2, 1]},
    ]
    document["scenes"][0]["nodes"] = [0, 1]
    path.write_bytes(pack_glb(document, binary))


def test_several_objects_hang_below_an_empty(tmp_path: Path) -> None:
    job = finished_job(tmp_path, prepare=False)
    two_objects(job)
    mine = cuboid(bpy.context.scene)
    before = everything()
    created = asset().place_asset(bpy.context, job, bpy.context.scene, None, (5.0, 5.0, 5.0))
    assert (created.type, created.name, len(created.children)) == ("EMPTY", "Armchair", 2)
    low, high = world_corners(created)
    np.testing.assert_allclose([*((low + high)[:2] / 2), low[2]], (5, 5, 5), atol=1e-5)
    np.testing.assert_allclose(high[2] - low[2], 2 * 0.93, atol=0.1)
    assert list(bpy.context.view_layer.objects.selected) == [created]
    assert not mine.select_get()
    asset().discard_asset(created)
    assert everything() == before


@pytest.mark.parametrize("content", [b"glTF rubbish", b""])
def test_a_file_that_the_stock_importer_refuses(tmp_path: Path, content: bytes) -> None:
    job = finished_job(tmp_path, prepare=False)
    (job.folder / "asset.glb").write_bytes(content)
    mine = cuboid(bpy.context.scene)
    before = everything()
    with pytest.raises(extension.module("engine.errors").EspalierError) as caught:
        asset().place_asset(bpy.context, job, bpy.context.scene)
    assert caught.value.code == "import_failed"
    assert everything() == before
    assert mine.select_get()
    assert bpy.context.view_layer.objects.active == mine
