# SPDX-License-Identifier: GPL-3.0-or-later
"""The library as assets of Blender: written by another Blender, appended and linked, counted and cleaned up."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest

from tests.support import extension
from tests.support.shelf import put
from tests.support.waiting import wait_for

DAY_S = 86400.0


@pytest.fixture
def library(espalier: Any, preferences: Any) -> Iterator[ModuleType]:
    """Return the module, with an empty library; nothing of it is in the preferences or runs afterwards."""
    found = extension.module("operators.library")
    use = extension.module("operators.library_use")
    found.shelf, use.state = found.Shelf(), use.State()
    yield found
    if found.shelf.helper is not None:
        found.shelf.helper.stop()
    found.shelf, use.state = found.Shelf(), use.State()
    found.remove_entry()


def finish(library: ModuleType) -> None:
    """Step as the timer does, until nothing is left to do."""
    wait_for(lambda: not library.step(), 0.05)


def everything() -> dict[str, list[str]]:
    kinds = ("objects", "meshes", "materials", "images", "collections", "scenes", "libraries", "worlds")
    return {kind: [block.name for block in getattr(bpy.data, kind)] for kind in kinds}


def test_each_result_becomes_an_asset_and_the_open_file_stays_as_it_is(library: ModuleType) -> None:
    folders = [put("20260203-a"), put("20260203-b", "Mug", resolution="512")]
    broken = put("20260203-c")
    (broken / "request.json").write_text("{")
    locked = put("20260203-d")
    (locked / "asset.blend").mkdir()  # so that nothing can take its name, also for one who may write everywhere
    own = bpy.data.objects.new("椅子 chair", None)
    before = everything()
    library.add(path.name for path in (*folders, broken, locked))
    library.add([folders[0].name])
    assert library.step()
    assert library.shelf.helper.results == [path.name for path in (*folders, broken, locked)]
    finish(library)
    assert everything() == before
    assert own.asset_data is None
    assert library.shelf.made == 2
    assert {job: error.code for job, error in library.shelf.failed.items()} == {
        broken.name: "request_invalid",
        locked.name: "output_unwritable",
    }
    assert "2 finished assets could not be shown" in library.shelf.problem.cause
    assert not [path for path in broken.iterdir() if "blend" in path.name]
    assert [path.name for path in locked.iterdir() if path.name.endswith("blend")] == ["asset.blend"]
    assert library.missing(library.folder()) == [locked.name, broken.name]

    for folder, name, setting in zip(folders, ("椅子 chair", "Mug"), ("1024", "512"), strict=True):
        with bpy.data.libraries.load(str(folder / "asset.blend"), assets_only=True) as (source, target):
            assert source.objects == [name]
            assert not source.collections
            target.objects = list(source.objects)
        (made,) = target.objects
        data = made.asset_data
        assert data.catalog_id == extension.module("engine.jobs.catalog").catalog_id("Draft")
        assert {tag.name for tag in data.tags} == {"Espalier", "Draft", "2026-02", f"{setting} resolution"}
        assert f"Made from {name}.png" in data.description
        assert "Seed: 7" in data.description
        assert "Texture Size 1024" in data.description
        assert ("Resolution 512" in data.description) == (setting == "512")
        assert data.license == "As the image"
        assert tuple(made.location) == (0, 0, 0)
        assert made["espalier"]["job"] == folder.name
        assert tuple(made.preview.image_size) == (96, 64)
        shown = np.empty(96 * 64 * 4, np.float32)
        made.preview.image_pixels_float.foreach_get(shown)
        np.testing.assert_allclose(shown.reshape(-1, 4)[100], (200 / 255, 30 / 255, 30 / 255, 1.0), atol=0.01)
        assert min(vertex.co.z for vertex in made.data.vertices) == pytest.approx(0.0, abs=1e-6)
        assert all(image.packed_file for image in bpy.data.images if image.users)
    catalogs = (library.folder() / "blender_assets.cats.txt").read_text("utf-8")
    assert ":Espalier/Draft:" in catalogs


def test_an_asset_can_be_linked_and_says_how_it_was_made(library: ModuleType) -> None:
    folder = put("20260203-a", decimation_target=20000)
    library.add([folder.name])
    finish(library)
    with bpy.data.libraries.load(str(folder / "asset.blend"), link=True) as (source, target):
        target.objects = list(source.objects)
    (linked,) = target.objects
    bpy.context.scene.collection.objects.link(linked)
    bpy.context.view_layer.objects.active = linked
    assert bpy.ops.espalier.use_settings() == {"FINISHED"}
    settings = bpy.context.scene.espalier
    assert (settings.seed, settings.decimation_target, settings.texture_size) == (7, 20000, "1024")
    assert Path(settings.image.filepath) == folder / "image" / "椅子 chair.png"
    use = extension.module("operators.library_use")
    assert folder.name in use.used_here()


def test_the_library_is_in_blenders_preferences_only_while_it_is_ours(library: ModuleType) -> None:
    libraries = bpy.context.preferences.filepaths.asset_libraries
    before = [each.name for each in libraries]
    put("20260203-a")
    library.ensure_entry()
    library.ensure_entry()
    assert [each.name for each in libraries] == [*before, "Espalier"]
    assert Path(libraries["Espalier"].path) == library.folder()
    library.remove_entry()
    assert [each.name for each in libraries] == before
    library.ensure_entry()
    libraries["Espalier"].name = "我的"
    library.remove_entry()
    assert [each.name for each in libraries] == [*before, "我的"]
    library.ensure_entry()
    assert [each.name for each in libraries] == [*before, "我的"]
    libraries["我的"].name = "Espalier"
    library.unregister()
    assert [each.name for each in libraries] == before
    assert (library.folder() / "20260203-a" / "asset.glb").is_file()


def test_another_library_of_that_name_is_left_alone(library: ModuleType, tmp_path: Path) -> None:
    libraries = bpy.context.preferences.filepaths.asset_libraries
    theirs = libraries.new(name="Espalier", directory=str(tmp_path))
    try:
        library.ensure_entry()
        assert Path(library.entry().path) == library.folder()
        library.remove_entry()
        assert [Path(each.path) for each in libraries if each.name.startswith("Espalier")] == [tmp_path]
        assert library.entry() is None
    finally:
        libraries.remove(theirs)


def test_the_preference_switches_it_off(library: ModuleType, preferences: Any) -> None:
    library.ensure_entry()
    preferences.asset_library = False
    assert library.entry() is None
    library.ensure_entry()
    assert library.entry() is None


def test_stopping_ends_the_other_blender(library: ModuleType) -> None:
    for number in range(3):
        put(f"20260203-{number}")
    library.add([f"20260203-{number}" for number in range(3)])
    library.step()
    helper = library.shelf.helper
    wait_for(lambda: helper._child is not None)
    library.unregister()
    assert helper.ended.is_set()
    assert helper._child.process.returncode is not None
    assert helper.news.empty() or library.shelf.failed == {}
    assert not list(library.folder().rglob(".*.blend"))
    library.register()


def test_stopping_while_the_other_blender_is_given_its_order_leaves_no_dead_process(
    library: ModuleType, monkeypatch: Any
) -> None:
    monkeypatch.setattr(library, "command", lambda: [sys.executable, "-c", "import time; time.sleep(600)"])
    helper = library.Helper(library.folder(), [f"{number:0200}" for number in range(2000)], "")  # no pipe holds it
    wait_for(lambda: helper._child is not None)
    helper.stop()
    assert helper.ended.is_set()
    assert helper._child.process.returncode == -signal.SIGKILL
    assert helper.news.empty()


def test_a_blender_that_does_not_start_is_told_and_tried_again(library: ModuleType, monkeypatch: Any) -> None:
    folder = put("20260203-a")
    monkeypatch.setattr(library, "command", lambda: [str(library.folder() / "no blender")])
    library.add([folder.name])
    finish(library)
    assert list(library.shelf.failed) == [folder.name]
    assert "the Blender beside this one stopped" in library.shelf.problem.cause
    monkeypatch.undo()
    library.retry()
    library.add(library.missing(library.folder()))
    finish(library)
    assert not library.shelf.failed
    assert (folder / "asset.blend").is_file()


def test_clean_up_takes_the_old_and_leaves_what_is_used(library: ModuleType, preferences: Any) -> None:
    use = extension.module("operators.library_use")
    now = time.time()
    jobs = {f"2026020{day}-a": now - (10.5 - day) * DAY_S for day in range(1, 7)}
    folders = [put(job, made_s=made) for job, made in jobs.items()]
    mine = bpy.data.objects.new("Mine", None)
    mine["espalier"] = {"job": folders[0].name}
    rebuilt = bpy.data.objects.new("Rebuilt", None)
    rebuilt["espalier"] = {"job": "elsewhere", "source": str(folders[1] / "asset.glb")}
    image = bpy.data.images.load(str(folders[2] / "thumbnail.png"))
    assert not bpy.ops.espalier.clean_library.poll()
    bpy.ops.espalier.measure_library()
    assert (use.state.usage.count, use.state.usage.surplus) == (6, 0)
    assert use.state.usage.size == sum(path.stat().st_size for path in library.folder().rglob("*") if path.is_file())
    preferences.library_keep_days = 6
    bpy.ops.espalier.measure_library()
    assert use.state.usage.surplus == 1
    assert bpy.ops.espalier.clean_library("EXEC_DEFAULT") == {"FINISHED"}
    left = sorted(path.name for path in library.folder().iterdir())
    assert left == [folder.name for folder in folders if folder != folders[3]]
    assert use.state.told.startswith("1 results removed")
    assert use.state.usage.count == 5
    bpy.data.images.remove(image)
    preferences.library_keep_days, preferences.library_keep_gb = 0, 2e-9
    bpy.ops.espalier.measure_library()
    assert use.state.usage.surplus == 3
    assert bpy.ops.espalier.clean_library("EXEC_DEFAULT") == {"FINISHED"}
    assert sorted(path.name for path in library.folder().iterdir()) == [folders[0].name, folders[1].name]


def test_clean_up_refuses_while_another_blender_works_with_the_library(
    library: ModuleType, preferences: Any, session: ModuleType
) -> None:
    use = extension.module("operators.library_use")
    put("20260203-a", made_s=1.0)
    preferences.library_keep_days = 1
    bpy.ops.espalier.measure_library()
    owners = session.user_folder() / "owners"
    owners.mkdir()
    other = extension.module("engine.jobs.owner").Owner(owners)
    with pytest.raises(RuntimeError, match="Another Blender works with the same library"):
        bpy.ops.espalier.clean_library("EXEC_DEFAULT")
    other.release()
    assert bpy.ops.espalier.clean_library("EXEC_DEFAULT") == {"FINISHED"}
    assert use.state.usage.count == 0


def test_regenerate_asks_for_the_same_with_another_seed(library: ModuleType, picture: Path) -> None:
    values = {"resolution": "512", "texture_size": "1024", "decimation_target": 20000}
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(picture), seed=5, **values)
    (first,) = (item for item in bpy.data.objects if item.type == "MESH")
    picture.unlink()
    assert bpy.ops.espalier.regenerate("EXEC_DEFAULT") == {"FINISHED"}
    second = next(item for item in bpy.data.objects if item.type == "MESH" and item != first)
    assert second.name == f"{first.name}.001"
    kept = {name: value for name, value in second["espalier"].items() if name in values}
    assert kept == values
    assert second["espalier"]["seed"] != 5
    bpy.context.view_layer.objects.active = first
    bpy.ops.espalier.regenerate("EXEC_DEFAULT", new_seed=False)
    assert sorted(item["espalier"]["seed"] for item in bpy.data.objects if item.type == "MESH")[0] == 5
    shutil.rmtree(library.folder())
    with pytest.raises(RuntimeError, match="does not exist"):
        bpy.ops.espalier.regenerate("EXEC_DEFAULT")
    with pytest.raises(RuntimeError, match="are gone"):
        bpy.ops.espalier.reveal("EXEC_DEFAULT")


def test_nothing_is_offered_for_what_is_not_ours(library: ModuleType) -> None:
    mine = bpy.data.objects.new("Mine", None)
    bpy.context.scene.collection.objects.link(mine)
    bpy.context.view_layer.objects.active = mine
    for name in ("use_settings", "regenerate", "reveal"):
        assert not getattr(bpy.ops.espalier, name).poll()
