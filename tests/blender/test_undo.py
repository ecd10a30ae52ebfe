# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hundred steps of undo and redo while jobs start, run, finish and come into the scene.

What the scene is after each step is compared with what it was when that step was first made. The jobs bring new assets,
stand-ins, variations and rebuilt meshes. While there is still work to do, nothing is redone that makes an object: where
new steps are made after that, Blender's own undo loses objects, or crashes, in one of several hundred steps (bpy 4.2
and 4.5, a script of forty lines, without an add-on). When the work is done the walk goes everywhere.
"""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import pytest

from tests.support import extension
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.once

STEPS = 200
WALK = 8
"""How many of them are tried while a job runs, and again when it is done."""
SMALL = {"resolution": "512", "texture_size": "1024"}
REBUILT = {"remesh": False, "decimation_target": 1000, "texture_size": "1024"}
SELDOM = 0.04
BLOCKS = ("objects", "meshes", "materials", "images", "node_groups", "collections", "actions")


def ours() -> list[bpy.types.Object]:
    """Return the objects of assets."""
    return [item for item in bpy.data.objects if "espalier" in item]


def seen() -> dict[str, Any]:
    """Return all of the file that a step may change, as plain data."""
    bpy.context.view_layer.update()
    settings = bpy.context.scene.espalier
    objects = {
        item.name: (
            str(item["espalier"]["job"]) if "espalier" in item else "",
            len(item.data.polygons),
            [round(value, 5) for row in item.matrix_world for value in row],
            [home.name for home in item.users_collection],
            item.hide_get(),
            item.select_get(),
            [slot.material.name for slot in item.material_slots],
        )
        for item in bpy.context.scene.objects
    }
    active = bpy.context.view_layer.objects.active
    return {
        "objects": objects,
        "active": active.name if active else "",
        "blocks": {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in BLOCKS},
        "settings": (settings.seed, settings.engine, settings.image.name if settings.image else ""),
    }


class Steps:
    """Blender's undo stack beside what the file was after each of its steps."""

    def __init__(self, tick: Callable[[], bool]) -> None:
        self._tick = tick
        bpy.ops.ed.undo_push(message="start")
        self.known = [seen()]
        self.makes = [False]
        self.at = 0
        self.taken = Counter[str]()

    def push(self, message: str) -> None:
        """Note what the person has just changed as a step."""
        bpy.ops.ed.undo_push(message=message)
        self.note()

    def note(self, makes: bool = False) -> None:
        """Note that Blender has a step more than before, which may have made an object."""
        self.at += 1
        self.known[self.at :] = [seen()]
        self.makes[self.at :] = [makes]

    def walk(self, chance: random.Random, everywhere: bool = False) -> None:
        """Take a step back or forth, if there is one, and compare.

        Unless it may go `everywhere` it never goes forth to what makes an object, and seldom back from there.
        """
        free = everywhere or chance.random() < SELDOM
        back = self.at > 0 and (free or not self.makes[self.at])
        forth = self.at + 1 < len(self.known) and (everywhere or not self.makes[self.at + 1])
        if not back and not forth:
            return
        back = back and (not forth or chance.random() < 0.5)
        assert (bpy.ops.ed.undo if back else bpy.ops.ed.redo)() == {"FINISHED"}
        self.at += -1 if back else 1
        self.taken["back" if back else "forth"] += 1
        assert seen() == self.known[self.at]

    def tick(self) -> bool:
        """Let the timer tick; where that brought an asset, note the one step that it is. Tell whether it did."""
        before = Counter(str(item["espalier"]["job"]) for item in ours())
        if not self._tick():
            return False
        after = Counter(str(item["espalier"]["job"]) for item in ours())
        assert sum((after - before).values()) == 1, "a job brings one asset"
        assert sum((before - after).values()) <= 1, "and takes the place of one at most"
        assert max(after.values()) == 1, "nothing is there twice"
        self.note(makes=True)
        return True


@pytest.fixture
def many_steps() -> Iterator[None]:
    """Let Blender keep as many steps of undo as it can."""
    edit = bpy.context.preferences.edit
    before, edit.undo_steps = edit.undo_steps, 256
    yield
    edit.undo_steps = before


@pytest.fixture
def box(espalier: Any) -> bpy.types.Object:
    """Return an object of the person's own, in whose place an asset may go."""
    bpy.ops.mesh.primitive_cube_add()
    return bpy.context.object


def test_two_hundred_steps_across_jobs(
    espalier: Any, session: ModuleType, preferences: Any, many_steps: None, box: Any, picture: Path
) -> None:
    chance, box_name = random.Random(8), box.name
    module = espalier.module
    request, rebuild = module("engine.request").GenerationRequest, module("engine.request").RebuildRequest
    placing, queue = module("operators.placing"), session.session.open_queue()
    bpy.context.scene.espalier.image = bpy.data.images.load(str(picture))
    jobs: list[str] = []

    def imported() -> int:
        return sum(job.state == "imported" for job in queue.jobs())

    def tick() -> bool:
        before = imported()
        session._tick()
        assert imported() - before in (0, 1), "one asset a tick"
        return imported() > before

    def submit(kind: str) -> None:
        place, wanted = None, request.create(picture, "draft", SMALL, kind)
        if kind == "missing":
            wanted = request.create(picture.with_name("missing.png"), "draft", SMALL, kind)
        elif kind == "instead":
            target = bpy.data.objects[box_name]
            target.hide_set(False)
            for item in bpy.context.selected_objects:
                item.select_set(False)
            target.select_set(True)
            bpy.context.view_layer.objects.active = target
            steps.push("select the box")
            place = placing.snapshot(bpy.context, session.session.file, where="OBJECT")
        elif kind == "variation":
            row = {"group": "row", "index": len(jobs), "count": 2}
            place = {**placing.snapshot(bpy.context, session.session.file), "variations": row}
        elif kind == "rebuilt":
            known = [item for item in ours() if item["espalier"]["engine"] == "draft"]
            source = module("operators.rebuild").source_of(known[-1]) if known else None
            if source is not None:
                wanted = rebuild.create(source, REBUILT, name=kind)
                place = {**placing.snapshot(bpy.context, session.session.file), **placing.aim(known[-1])}
        jobs.append(session.submit(wanted, bpy.context, place))

    steps = Steps(tick)
    kinds = [
        "plain",
        "rebuilt",
        "instead",
        "cancelled",
        "variation",
        "variation",
        "rebuilt",
        "missing",
        "rebuilt",
        "instead",
        "plain",
    ]
    for number, kind in enumerate(kinds, 1):
        settings = bpy.context.scene.espalier
        settings.seed = number
        bpy.data.objects[box_name].location.x += 1.0
        steps.push("the person works")
        submit(kind)
        if kind == "cancelled":
            queue.cancel(jobs[-1])
        # The person goes back, also before the job was asked for, while it runs and while it waits to be placed.
        for _ in range(WALK):
            steps.walk(chance)
            queue.step()
            time.sleep(0.01)
        end = time.monotonic() + PATIENCE_S
        while queue.job(jobs[-1]).state not in ("imported", "failed", "cancelled"):
            assert time.monotonic() < end, queue.job(jobs[-1])
            steps.tick()
            time.sleep(0.01)
        for _ in range(WALK):
            steps.walk(chance)
            assert not steps.tick(), "what was placed once is not placed again"
    while sum(steps.taken.values()) < STEPS:
        steps.walk(chance, everywhere=True)
        assert not steps.tick(), "what was placed once is not placed again"
    assert steps.taken["back"] > 50 < steps.taken["forth"]

    expected = {"missing": "failed", "cancelled": "cancelled"}
    states = {job: expected.get(kind, "imported") for job, kind in zip(jobs, kinds, strict=True)}
    assert {job.id: str(job.state) for job in queue.jobs()} == states
    _agree(espalier, session, states)
    while steps.at < len(steps.known) - 1:
        bpy.ops.ed.redo()
        steps.at += 1
    assert seen() == steps.known[-1]
    _keeps_no_data_blocks()


def _agree(espalier: Any, session: ModuleType, states: dict[str, str]) -> None:
    """See that the list shows what the ledger has, and that nothing is on its way."""
    session.settle()
    rows = espalier.module("operators.queue_list")
    rows.sync()
    assert {item.job for item in bpy.context.window_manager.espalier_queue.items} <= states.keys()
    assert {job.id for job in rows.shown()} == {item.job for item in bpy.context.window_manager.espalier_queue.items}
    with closing(sqlite3.connect(session.user_folder() / session.LEDGER)) as ledger:
        assert dict(ledger.execute("SELECT id, state FROM jobs")) == states
    library = session.user_folder() / "library"
    assert {folder.name for folder in library.iterdir()} >= {job for job in states if states[job] == "imported"}


def _keeps_no_data_blocks() -> None:
    """See that no module of the extension holds a data-block, which undo and another file would have freed."""
    held = []

    def look(value: Any, path: str, depth: int) -> None:
        if isinstance(value, bpy.types.ID):
            held.append(path)
        elif depth and isinstance(value, dict):
            for key, item in value.items():
                look(item, f"{path}[{key!r}]", depth - 1)
        elif depth and isinstance(value, (list, tuple, set, frozenset)):
            for number, item in enumerate(value):
                look(item, f"{path}[{number}]", depth - 1)
        elif depth and dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                look(getattr(value, field.name, None), f"{path}.{field.name}", depth - 1)
        elif depth and type(value).__module__.startswith(extension.MODULE):
            look(getattr(value, "__dict__", {}), path, depth - 1)

    for name, module in list(sys.modules.items()):
        if name.startswith(extension.MODULE) and module is not None:
            for key, value in list(vars(module).items()):
                look(value, f"{name}.{key}", 6)
    assert not held
