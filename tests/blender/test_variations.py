# SPDX-License-Identifier: GPL-3.0-or-later
"""Several seeds of one image come as a row of previews; what is kept is placed as asked for, the rest goes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import MethodType
from typing import Any

import bpy
import numpy as np
import pytest

from tests.support import extension
from tests.support.meshes import bumpy_sphere, encoded_image

NAME = "Chair"


@pytest.fixture
def session(espalier: Any, preferences: Any) -> Any:
    """Return the module that holds this Blender's one queue."""
    return espalier.module("operators.session")


def module(name: str) -> Any:
    return extension.module(name)


def asset_folder(tmp_path: Path) -> Path:
    """Return a result folder of a bumpy sphere, which is less than one unit high."""
    folder = tmp_path / "result"
    if not folder.is_dir():
        folder.mkdir()
        g = module("engine.mesh.glb")
        positions, faces, normals, uvs = bumpy_sphere(2)
        texture = g.Texture(encoded_image(), "image/png")
        g.write_glb(folder / "asset.glb", g.Mesh(positions, faces, normals, uvs), g.Material(base_color=texture))
        module("engine.mesh.prepare").prepare(folder / "asset.glb", folder / "import")
    return folder


def arrive(tmp_path: Path, place: dict[str, Any], seed: int, index: int, group: str = "g") -> bpy.types.Object:
    """Let a finished variation arrive, as the import operator does, and return its object."""
    job_module = module("engine.jobs.job")
    request = module("engine.request").GenerationRequest.create(tmp_path / f"{NAME}.png", "trellis2", {"seed": seed})
    numbered = json.loads(json.dumps({**place, "variations": {"group": group, "index": index, "count": 4}}))
    job = job_module.Job(f"job-{seed}", request, job_module.State.READY, numbered, folder=asset_folder(tmp_path))
    scene = module("operators.placing").scene_of(numbered, bpy.context)

    def arrange(created: bpy.types.Object) -> None:
        module("operators.variations").place_preview(bpy.context, created, numbered, scene)

    return module("operators.scene.asset").place_asset(bpy.context, job, scene, arrange=arrange)


def snapshot(**options: Any) -> dict[str, Any]:
    file = module("operators.session").session.file
    return module("operators.placing").snapshot(bpy.context, file, **options)


def box(target: bpy.types.Object) -> np.ndarray:
    bpy.context.view_layer.update()
    points = np.array([target.matrix_world @ vertex.co for vertex in target.data.vertices])
    return np.array([points.min(axis=0), points.max(axis=0)])


def keep(target: bpy.types.Object) -> None:
    assert bpy.ops.espalier.keep_variation(target=target.name) == {"FINISHED"}


def test_previews_stand_in_a_row_beside_the_place_in_a_collection_of_their_own(session: Any, tmp_path: Path) -> None:
    mine = bpy.data.objects.new("Mine", None)
    bpy.context.scene.collection.objects.link(mine)
    mine.select_set(True)
    bpy.context.scene.cursor.location = (1.0, 2.0, 3.0)
    place = snapshot()
    made = [arrive(tmp_path, place, 40 + index, index) for index in (2, 0, 3, 1)]
    row = bpy.data.collections["Variations of Chair"]
    assert row.name in bpy.context.scene.collection.children
    assert all(item.users_collection == (row,) for item in made)
    in_order = module("operators.scene.row").previews(row)
    assert [item.name for item in in_order] == [f"Chair (Seed {40 + index})" for index in range(4)]
    boxes = [box(item) for item in in_order]
    assert all(2 * np.ptp(corners, axis=0).max() < 1.0 for corners in boxes)
    assert boxes[0][0][0] > 1.5 - 1e-4
    for left, right in itertools.pairwise(boxes):
        assert left[1][0] < right[0][0]
    for corners in boxes:
        assert corners[0][2] == pytest.approx(3.0, abs=1e-4)
        assert corners.mean(axis=0)[1] == pytest.approx(2.0, abs=0.02)
    assert mine.select_get()
    assert not any(item.select_get() for item in made)


def test_what_is_kept_is_what_generate_would_have_placed(session: Any, tmp_path: Path) -> None:
    settings = module("operators.placement_settings").chosen()
    settings.facing, settings.use_height, settings.height_m, settings.origin = "POS_X", True, 2.5, "CENTER"
    bpy.context.scene.cursor.location = (1.0, 2.0, 3.0)
    place = snapshot()
    settings.facing, settings.use_height = "NEG_Y", False  # what was chosen when it was asked for counts
    first, second = arrive(tmp_path, place, 7, 0), arrive(tmp_path, place, 8, 1)
    keep(first)
    assert (first.name, tuple(first.location), tuple(first.scale)) == ("Chair", (1, 2, 3), (1, 1, 1))
    assert first.rotation_euler.z == pytest.approx(np.pi / 2)
    assert np.ptp(box(first), axis=0)[2] == pytest.approx(2.5, abs=1e-4)
    assert first.users_collection == (bpy.context.scene.collection,)
    assert bpy.context.view_layer.objects.active == first
    assert "placement" not in first["espalier"]
    assert first["espalier"]["seed"] == 7
    keep(second)
    apart = np.array(second.location) - np.array(first.location)
    assert np.linalg.norm(apart) > np.ptp(box(first), axis=0)[1]  # beside it, towards its left
    assert abs(apart[1]) == pytest.approx(np.linalg.norm(apart), abs=1e-4)
    assert not [c for c in bpy.data.collections if c.name.startswith("Variations")]


def test_kept_in_place_of_an_object(session: Any, tmp_path: Path) -> None:
    bpy.ops.mesh.primitive_cube_add(size=4.0, location=(0.0, 0.0, 2.0))
    old = bpy.context.object
    place = snapshot(where="OBJECT")
    first, second = arrive(tmp_path, place, 7, 0), arrive(tmp_path, place, 8, 1)
    assert not old.hide_get()
    assert box(first)[0][0] > 2.0
    keep(first)
    assert old.hide_get()
    assert np.ptp(box(first), axis=0).max() == pytest.approx(4.0, abs=1e-3)
    assert box(first)[0][2] == pytest.approx(0.0, abs=1e-4)
    keep(second)
    assert box(second)[0][0] > box(first)[1][0]
    np.testing.assert_allclose(np.ptp(box(second), axis=0), np.ptp(box(first), axis=0), atol=1e-3)


def test_discarded_it_is_out_of_the_scene_and_in_the_library(session: Any, tmp_path: Path) -> None:
    place = snapshot()
    first, second, third = (arrive(tmp_path, place, seed, seed) for seed in range(3))
    stray = bpy.data.objects.new("Mine", None)
    bpy.data.collections["Variations of Chair"].objects.link(stray)
    before = len(bpy.data.images)
    assert bpy.ops.espalier.discard_variation(target=first.name) == {"FINISHED"}
    assert "Chair (Seed 0)" not in bpy.data.objects
    assert len(bpy.data.images) < before
    assert (tmp_path / "result" / "asset.glb").is_file()
    keep(second)
    assert bpy.ops.espalier.discard_row(group="g") == {"FINISHED"}
    assert {item.name for item in bpy.data.objects} == {"Chair", "Mine"}
    assert stray.users_collection == (bpy.data.collections["Variations of Chair"],)
    del third


def test_the_selected_ones_are_kept_or_the_remedy_is_told(session: Any, tmp_path: Path) -> None:
    place = snapshot()
    made = [arrive(tmp_path, place, seed, seed) for seed in range(3)]
    for item in made[:2]:
        item.select_set(True)
    assert bpy.ops.espalier.keep_variation() == {"FINISHED"}
    assert module("operators.scene.row").kept("g") == made[:2]
    with pytest.raises(RuntimeError, match="No variation is selected"):
        bpy.ops.espalier.discard_variation()
    made[2].select_set(True)
    bpy.context.view_layer.objects.active = made[2]
    bpy.ops.object.mode_set(mode="EDIT")
    assert not bpy.ops.espalier.keep_variation.poll()
    bpy.ops.object.mode_set(mode="OBJECT")


def test_two_rows_of_one_name_stay_apart_and_outlive_the_file(session: Any, tmp_path: Path) -> None:
    place = snapshot()
    arrive(tmp_path, place, 1, 0, "first")
    arrive(tmp_path, place, 1, 0, "second")
    bpy.data.collections["Variations of Chair"].name = "Renamed"
    arrive(tmp_path, place, 2, 1, "first")
    bpy.context.scene.espalier.variations, bpy.context.scene.espalier.lods = 7, "3000, 1000"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert (bpy.context.scene.espalier.variations, bpy.context.scene.espalier.lods) == (7, "3000, 1000")
    row = module("operators.scene.row")
    assert [(r.name, len(row.previews(r))) for r in row.rows(bpy.context.scene)] == [
        ("Renamed", 2),
        ("Variations of Chair.001", 1),
    ]
    (item,) = row.previews(bpy.data.collections["Variations of Chair.001"])
    keep(item)
    assert tuple(item.scale) == (1, 1, 1)
    assert box(item)[0][2] == pytest.approx(0.0, abs=1e-4)


def test_one_undo_puts_it_back_into_the_row(session: Any, tmp_path: Path) -> None:
    item = arrive(tmp_path, snapshot(), 1, 0)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.espalier.keep_variation("EXEC_DEFAULT", True, target=item.name)
    assert "Chair" in bpy.data.objects
    bpy.ops.ed.undo()
    assert bpy.data.objects["Chair (Seed 1)"].users_collection[0].name == "Variations of Chair"
    assert "Chair" not in bpy.data.objects
    bpy.ops.ed.redo()
    assert bpy.data.objects["Chair"].users_collection == (bpy.context.scene.collection,)


def test_seeds_follow_each_other_and_start_again_after_the_last(session: Any) -> None:
    seeds = module("operators.variations").seeds
    assert seeds(42, 3) == [42, 43, 44]
    assert seeds(2147483646, 4) == [2147483646, 2147483647, 0, 1]


def test_an_engine_that_ignores_the_seed_is_refused(session: Any, picture: Path) -> None:
    with pytest.raises(RuntimeError, match="Draft engine would all be the same: it uses no random numbers"):
        bpy.ops.espalier.generate_variations("EXEC_DEFAULT", filepath=str(picture))
    assert session.known_jobs() == []


def test_from_the_button_to_the_row_with_one_price_for_all(session: Any, server: Any, picture: Path) -> None:
    settings = bpy.context.scene.espalier
    settings.engine, settings.resolution, settings.variations, settings.seed = "remote", "512", 3, 10
    assert bpy.ops.espalier.generate_variations("EXEC_DEFAULT", filepath=str(picture)) == {"FINISHED"}
    jobs = session.known_jobs()
    assert sorted(job.request.parameters["seed"] for job in jobs) == [10, 11, 12]
    assert len({job.placement["variations"]["group"] for job in jobs}) == 1
    assert {job.state for job in jobs} == {"imported"}
    (row,) = module("operators.scene.row").rows(bpy.context.scene)
    assert [item["espalier"]["seed"] for item in module("operators.scene.row").previews(row)] == [10, 11, 12]
    assert len(server.book.jobs) == 3


def test_the_price_is_asked_for_all_at_once(session: Any, preferences: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = bpy.context.scene.espalier
    settings.engine, settings.resolution, settings.variations = "remote", "512", 5
    pricing = module("operators.pricing")
    one = pricing.price("remote", "512")
    preferences.ask_above_usd = 4 * one
    asked: list[float] = []

    def confirm(_operator: Any, _context: Any, _event: Any, price: float, _message: str) -> set[str]:
        asked.append(price)
        return {"CANCELLED"}

    monkeypatch.setattr(pricing, "confirm", confirm)
    operator = module("operators.variations").ESPALIER_OT_generate_variations
    monkeypatch.setattr(operator, "execute", lambda *_arguments: {"FINISHED"})
    # Without a window, Blender executes what is to be invoked.
    assert operator.invoke(Pressed(operator), bpy.context, None) == {"CANCELLED"}
    assert asked == [pytest.approx(5 * one)]
    settings.variations = 4
    assert operator.invoke(Pressed(operator), bpy.context, None) == {"FINISHED"}
    assert len(asked) == 1


class Pressed:
    """An operator as its button makes it: nothing is set on it."""

    class properties:
        @staticmethod
        def is_property_set(_name: str) -> bool:
            return False

    def __init__(self, operator: type) -> None:
        self._operator = operator

    def __getattr__(self, name: str) -> Any:
        return MethodType(getattr(self._operator, name), self)
