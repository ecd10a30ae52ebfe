# SPDX-License-Identifier: GPL-3.0-or-later
"""Manners: what is another's stays as it is, wherever an asset goes, and disabling leaves nothing behind."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import bpy
import bpy.utils.previews
import pytest

from tests.support import extension
from tests.support.drawing import drawn
from tests.support.extension import pump
from tests.support.meshes import bumpy_sphere
from tests.support.waiting import wait_for

pytestmark = pytest.mark.once

SMALL = {"resolution": "512", "texture_size": "1024"}
TAKEN = {"LEFTMOUSE", "RIGHTMOUSE", "ESC"}


def module(name: str) -> Any:
    return extension.module(name)


def ours() -> list[bpy.types.Object]:
    return [item for item in bpy.data.objects if "espalier" in item]


@pytest.fixture
def result(tmp_path: Path, espalier: Any) -> Path:
    """Return a result folder of a bumpy sphere, with a second level of detail."""
    folder = tmp_path / "result"
    level = module("engine.mesh.layout").level_folder(folder, 1)
    for each in (folder, level):
        each.mkdir(parents=True, exist_ok=True)
        glb = module("engine.mesh.glb")
        positions, faces, normals, uvs = bumpy_sphere(2)
        glb.write_glb(each / "asset.glb", glb.Mesh(positions, faces, normals, uvs), glb.Material())
        module("engine.mesh.prepare").prepare(each / "asset.glb", each / "import")
    return folder


class World:
    """What of Blender an add-on can leave something in, as plain data."""

    def __init__(self) -> None:
        gc.collect()
        preferences = bpy.context.preferences
        self.handlers = {
            name: [f"{each.__module__}.{each.__name__}" for each in found]
            for name in dir(bpy.app.handlers)
            if isinstance(found := getattr(bpy.app.handlers, name), list)
        }
        self.types = {name for name in dir(bpy.types) if not name.startswith("__")}
        self.drawn = {
            f"{name}: {function.__module__}.{function.__name__}"
            for name in dir(bpy.types)
            for function in getattr(getattr(getattr(bpy.types, name), "draw", None), "_draw_funcs", ())
        }
        self.properties = {
            (kind.__name__, item.identifier)
            for kind in (bpy.types.Scene, bpy.types.Object, bpy.types.WindowManager, bpy.types.Image, bpy.types.Mesh)
            for item in kind.bl_rna.properties
        }
        self.operators = {f"{group}.{name}" for group in dir(bpy.ops) for name in dir(getattr(bpy.ops, group))}
        self.keys = {
            (keymap.name, item.idname, item.type)
            for config in bpy.context.window_manager.keyconfigs
            for keymap in config.keymaps
            for item in keymap.keymap_items
        }
        self.libraries = [(each.name, each.path) for each in preferences.filepaths.asset_libraries]
        self.addons = set(preferences.addons.keys()) - {extension.MODULE}
        self.previews = sum(isinstance(each, bpy.utils.previews.ImagePreviewCollection) for each in gc.get_objects())
        self.threads = {
            thread.name for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)
        }
        self.processes = self._children()
        self.environment = dict(os.environ)
        self.path = list(sys.path)

    @staticmethod
    def _children() -> set[str]:
        """Return the processes that this one has started, where the system tells."""
        found = set()
        for task in Path("/proc/self/task").glob("*/children"):
            found |= set(task.read_text().split())
        return found


def timers() -> list[FunctionType]:
    """Return the functions of the extension that may be timers."""
    found = []
    for name, each in list(sys.modules.items()):
        if name.startswith(f"{extension.MODULE}.operators"):
            found += [known for known in vars(each).values() if isinstance(known, FunctionType)]
    return found


def test_disabling_while_jobs_run_leaves_nothing_behind(
    espalier: Any, preferences: Any, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addon = espalier.module()  # what Blender does besides, to wheels alone, takes long
    addon.unregister()
    before = World()
    addon.register()
    session = module("operators.session")
    order = module("engine.request").GenerationRequest
    # In the background Blender has no timers of its own accord.
    for name in ("session", "cutout", "forecast", "status_bar", "library", "clipboard", "environments"):
        monkeypatch.setattr(module(f"operators.{name}"), "bpy", _Window())
    for number in range(3):
        session.submit(order.create(picture, "draft", SMALL, f"job {number}"), bpy.context)
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.load(str(picture))
    module("operators.cutout").want(bpy.context.scene)
    module("operators.cutout").step()
    module("operators.status_bar").show("news", "INFO")
    module("operators.environments").look()
    module("operators.forecast").look()
    pump(lambda: any(job.state == "running" for job in session.known_jobs()))
    module("operators.queue_list").sync()
    drawn(module("panels.jobs").ESPALIER_PT_jobs, bpy.context.scene, bpy.context.preferences)
    during, known = World(), timers()
    assert during.types - before.types, "there is something to leave behind"
    assert during.threads - before.threads
    assert during.processes - before.processes
    assert during.previews > before.previews
    assert [each for each in known if bpy.app.timers.is_registered(each)]
    began = time.monotonic()
    addon.unregister()
    assert time.monotonic() - began < 60.0
    wait_for(lambda: World().threads - before.threads <= {"graphics memory"}, 0.05)  # some end with their last sentence
    after = World()
    after.threads.discard("graphics memory")
    assert not [each.__module__ for each in known if bpy.app.timers.is_registered(each)]
    addon.register()
    for name, value in vars(before).items():
        assert getattr(after, name) == value, name


class _Window:
    """bpy as in a window."""

    class app:
        background = False
        timers = bpy.app.timers
        handlers = bpy.app.handlers

        @staticmethod
        def is_job_running(_name: str) -> bool:
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(bpy, name)


def test_modal_operators_let_all_through_but_what_they_ask_for(espalier: Any) -> None:
    modal = [each for each in module("operators").CLASSES if hasattr(each, "modal")]
    assert [each.bl_idname for each in modal] == ["espalier.pick_place"]
    types = [item.identifier for item in bpy.types.Event.bl_rna.properties["type"].enum_items]
    values = [item.identifier for item in bpy.types.Event.bl_rna.properties["value"].enum_items]
    assert {"MOUSEMOVE", "WHEELUPMOUSE", "MIDDLEMOUSE", "TIMER", "A", *TAKEN} <= set(types)
    for operator in modal:
        for kind in types:
            for value in values:
                if kind not in TAKEN or value != "PRESS":
                    event = SimpleNamespace(type=kind, value=value)
                    assert operator.modal(SimpleNamespace(), None, event) == {"PASS_THROUGH"}, (kind, value)


def test_an_operator_that_leaves_its_work_to_a_modal_one_does_not_wait_itself(
    espalier: Any, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blender would keep it for ever: the memory that it did not free it tells when it quits."""
    answer = {"RUNNING_MODAL"}
    calls = SimpleNamespace(generate=lambda *_a, **_k: answer, pick_place=lambda *_a, **_k: answer)
    stand_in = SimpleNamespace(ops=SimpleNamespace(espalier=calls), data=bpy.data)
    monkeypatch.setattr(module("operators.picking"), "bpy", stand_in)
    monkeypatch.setattr(module("operators.picking"), "under_mouse", lambda *_a: None)
    monkeypatch.setattr(module("operators.editor_menus"), "bpy", stand_in)
    image = bpy.data.images.load(str(picture))
    pressed = SimpleNamespace(properties=bpy.types.Operator, bl_idname="ESPALIER_OT_generate", image=image.name)
    monkeypatch.setattr(module("operators.picking"), "_given", lambda _operator: {})
    generate_image = module("operators.editor_menus").ESPALIER_OT_generate_image
    for expected in ({"INTERFACE"}, {"CANCELLED"}):
        assert module("operators.picking").pick(pressed, bpy.context, None) == expected
        assert generate_image._generate(pressed, bpy.context, "INVOKE_DEFAULT") == expected
        answer = {"CANCELLED"}


def others(how: str, tmp_path: Path) -> bpy.types.Collection:
    """Return a collection with an object, which is not ours to change or not seen, as the active one."""
    home = bpy.data.collections.new("Props")
    mesh = bpy.data.meshes.new("Kit")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 1)], [], [(0, 1, 2)])
    home.objects.link(bpy.data.objects.new("Kit", mesh))
    scene = bpy.context.scene
    if how in ("linked", "override"):
        bpy.data.libraries.write(str(tmp_path / "kit.blend"), {home})
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        scene = bpy.context.scene
        with bpy.data.libraries.load(str(tmp_path / "kit.blend"), link=True) as (_found, wanted):
            wanted.collections = ["Props"]
        (home,) = wanted.collections
        if how == "override":
            home = home.override_hierarchy_create(scene, bpy.context.view_layer)
    if home.name not in scene.collection.children:
        scene.collection.children.link(home)
    layer = bpy.context.view_layer
    inner = next(each for each in layer.layer_collection.children if each.collection == home)
    inner.exclude, inner.hide_viewport = how == "excluded", how == "hidden"
    layer.active_layer_collection = inner
    return home


HOW = ["linked", "override", "excluded", "hidden"]


@pytest.mark.parametrize("how", HOW)
def test_a_row_of_variations_is_seen_and_changes_nothing_of_others(
    session: ModuleType, result: Path, tmp_path: Path, how: str
) -> None:
    home = others(how, tmp_path)
    place = module("operators.placing").snapshot(bpy.context, session.session.file)
    place = json.loads(json.dumps({**place, "variations": {"group": "g", "index": 0, "count": 2}}))
    jobs, order = module("engine.jobs.job"), module("engine.request").GenerationRequest
    request = order.create(tmp_path / "a.png", "trellis2", {"seed": 1})
    job = jobs.Job("job", request, jobs.State.READY, place, folder=result)
    scene = bpy.context.scene
    made = module("operators.scene.asset").place_asset(
        bpy.context,
        job,
        scene,
        arrange=lambda made: module("operators.variations").place_preview(bpy.context, made, place, scene),
    )
    assert made.visible_get()
    assert made.users_scene == (scene,)
    assert [item.name for item in home.objects] == ["Kit"]
    assert not home.children
    kept = SimpleNamespace(report=lambda *_words: None)
    module("operators.variations").ESPALIER_OT_keep_variation.act(kept, bpy.context, made)
    assert made.visible_get()
    assert [item.name for item in home.objects] == ["Kit"]


@pytest.mark.parametrize("how", HOW)
def test_levels_of_detail_are_seen_and_change_nothing_of_others(
    session: ModuleType, result: Path, tmp_path: Path, how: str
) -> None:
    home = others(how, tmp_path)
    target = home.objects[0]
    jobs = module("engine.jobs.job")
    request = module("engine.request").RebuildRequest.create(result / "asset.glb", {}, ("500", "200"), "Chair")
    job = jobs.Job("job", request, jobs.State.READY, {}, folder=result)
    made = module("operators.scene.exchange").place_levels(bpy.context, job, 2, target, result)
    assert [item.name for item in made.objects] == ["Chair_LOD0", "Chair_LOD1"]
    assert made.objects[0].visible_get()
    assert not made.objects[1].visible_get()
    assert made.objects[1].hide_render
    assert [item.name for item in home.objects] == ["Kit"]
    assert not home.children


def test_a_linked_scene_gets_nothing_and_the_asset_is_not_lost(
    session: ModuleType, picture: Path, tmp_path: Path
) -> None:
    bpy.context.scene.name = "Street"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "street.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    with bpy.data.libraries.load(str(tmp_path / "street.blend"), link=True) as (_found, wanted):
        wanted.scenes = ["Street"]
    own, theirs = bpy.context.scene, wanted.scenes[0]
    order = module("engine.request").GenerationRequest.create(picture, "draft", SMALL)
    placing = module("operators.placing")
    job = session.submit(order, bpy.context, {**placing.snapshot(bpy.context, session.session.file), "scene": "Street"})
    pump(lambda: session.known_job(job).state == "imported")
    (made,) = ours()
    assert made.users_scene == (own,)
    assert not theirs.collection.objects


def test_what_blender_refuses_of_one_asset_does_not_keep_the_others(
    session: ModuleType, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer, order = module("operators.import_asset"), module("engine.request").GenerationRequest
    place = importer.place_asset

    def refuse(context: Any, job: Any, *rest: Any, **options: Any) -> Any:
        if job.request.name == "first":
            raise RuntimeError("Blender refuses it")
        return place(context, job, *rest, **options)

    monkeypatch.setattr(importer, "place_asset", refuse)
    jobs = [session.submit(order.create(picture, "draft", SMALL, name), bpy.context) for name in ("first", "second")]
    pump(lambda: session.known_job(jobs[1]).state == "imported")
    assert [item.name for item in ours()] == ["second"]
    assert session.known_job(jobs[0]).state == "ready"
    assert (session.session.error.code, session.session.error_job) == ("internal", jobs[0])
    assert "Blender refuses it" in session.session.error.detail
    rows = module("operators.queue_list")
    assert rows.asks(session.known_job(jobs[0])), "the person decides what becomes of it"
    monkeypatch.undo()
    assert bpy.ops.espalier.import_asset(job=jobs[0]) == {"FINISHED"}
    assert len(ours()) == 2


def test_who_works_meanwhile_keeps_mode_selection_and_names(session: ModuleType, picture: Path) -> None:
    own = {}
    for name in ("Mine", "green disc", "Other"):
        bpy.ops.mesh.primitive_cube_add()
        item = own[name] = bpy.context.object
        item.name = item.data.name = name
        item.data.materials.append(bpy.data.materials.new(name))
    bpy.data.images.new("green disc", 4, 4)
    bpy.context.view_layer.objects.active = own["Mine"]
    order = module("engine.request").GenerationRequest.create(picture, "draft", SMALL)
    job = session.submit(order, bpy.context)
    for item in own.values():
        item.select_set(item != own["green disc"])
    bpy.context.view_layer.objects.active = own["Other"]
    for mode in ("EDIT", "SCULPT"):
        bpy.ops.object.mode_set(mode=mode)
        pump(lambda: session.known_job(job).state == "ready")
        for _ in range(3):
            session._tick()
        assert not ours(), mode
        assert bpy.context.mode.startswith(mode)
    bpy.ops.object.mode_set(mode="OBJECT")
    names = {block.name_full for block in bpy.data.user_map()}
    bpy.ops.ed.undo_push(message="the last step of the artist")
    pump(ours)
    assert {item.name for item in bpy.context.selected_objects} == {"Mine", "Other"}
    assert bpy.context.view_layer.objects.active == own["Other"]
    assert names <= {block.name_full for block in bpy.data.user_map()}
    assert {name: (item.name, item.data.name, item.data.materials[0].name) for name, item in own.items()} == {
        name: (name, name, name) for name in own
    }
    bpy.ops.ed.undo()
    assert not ours()
    assert {block.name_full for block in bpy.data.user_map()} == names


def test_who_waits_finds_the_asset_selected(session: ModuleType, picture: Path) -> None:
    bpy.ops.mesh.primitive_cube_add()
    order = module("engine.request").GenerationRequest
    jobs = [session.submit(order.create(picture, "draft", SMALL, name), bpy.context) for name in ("first", "second")]
    for job, name in zip(jobs, ("first", "second"), strict=True):
        pump(lambda job=job: session.known_job(job).state == "imported")
        assert [item.name for item in bpy.context.selected_objects] == [name]
        assert bpy.context.view_layer.objects.active.name == name
