# SPDX-License-Identifier: GPL-3.0-or-later
"""A long session: job after job in one Blender, which grows no more than what it is told to remember.

By hand with the five hundred jobs of an hour: make test-blender TESTS="-k leave_nothing_behind_but --jobs 500 -s"
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.drawing import drawn
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.once

JOBS = 20
WARM = 8
"""Jobs until all is loaded, and Blender has as many steps to undo as it may keep."""
UNDO_STEPS = 4
WAITING = 3
"""Jobs that are asked for at once."""
SMALL = {"resolution": "512", "texture_size": "1024"}
MOST_KIB = 200.0
"""Memory that a job may leave behind: less than any array, picture or mesh of it."""
MOST_OBJECTS = 150.0
"""Python objects that a job may leave behind: its place in the queue, and its row in the list."""
ROOMS = {"cache", "inputs", "library", "owners"}
"""Folders in the extension's own folder."""
MAPS = Path("/proc/self/statm")


def memory_kib() -> float:
    """Return how much memory this process holds."""
    return int(MAPS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def children() -> set[int]:
    """Return the processes that this one has started and that live, of whatever depth."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
    found, more = set(), {os.getpid()}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found


def threads() -> set[threading.Thread]:
    """Return the threads that Python has started; Blender's own, which may call Python too, are not among them."""
    return {thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}


def orphans() -> list[str]:
    """Return the data-blocks that nothing uses and that would go with the file."""
    kinds = (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images, bpy.data.node_groups)
    return [repr(block) for kind in kinds for block in kind if block.users == 0]


def blocks() -> int:
    """Return how many data-blocks the file has."""
    return len(bpy.data.user_map())


def slope(values: list[float]) -> float:
    """Return by how much `values` grow from one to the next, the median of what all pairs say (Theil and Sen)."""
    found = np.array(values)
    first, second = np.triu_indices(len(found), 1)
    return float(np.median((found[second] - found[first]) / (second - first)))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which this process, and those that it starts, put temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def pictures(folder: Path) -> list[Path]:
    """Return some images of different subjects."""
    found = []
    for number in range(5):
        image = Image.new("RGBA", (192, 192))
        ImageDraw.Draw(image).regular_polygon((96, 96, 70), 3 + number, fill=(60 * number, 160, 90, 255))
        found.append(folder / f"subject {number}.png")
        image.save(found[-1])
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks at /proc")
def test_jobs_leave_nothing_behind_but_their_assets(
    espalier: Any,
    session: ModuleType,
    preferences: Any,
    temporary: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = request.config.getoption("--jobs", None) or JOBS
    monkeypatch.setattr(bpy.context.preferences.edit, "undo_steps", UNDO_STEPS)
    rows, panel = espalier.module("operators.queue_list"), espalier.module("panels.jobs").ESPALIER_PT_jobs
    order = espalier.module("engine.request").GenerationRequest
    images, began = pictures(tmp_path), time.monotonic()
    before, processes, scratch = threads(), children(), set(Path(bpy.app.tempdir).iterdir())
    purged = sorted(block.name for block in bpy.data.user_map())
    queue, asked, placed = session.session.open_queue(), 0, 0
    memory: list[float] = []
    objects: list[float] = []
    data: list[int] = []
    while placed < count:
        while asked < count and asked - placed < WAITING:
            session.submit(order.create(images[asked % len(images)], "draft", {**SMALL, "seed": asked}), bpy.context)
            asked += 1
        _wait_for_one_more(session, placed)
        placed += 1
        rows.sync()
        if panel.poll(bpy.context):
            drawn(panel, bpy.context.scene, bpy.context.preferences)
        assert not orphans(), "what has just been placed is used"
        _put_away(placed)
        memory.append(memory_kib())
        data.append(blocks())
        if placed % 2 == 0:
            gc.collect()
            objects.append(len(gc.get_objects()) / 2)
        if placed % 50 == 0:
            print(f"{placed} jobs, {time.monotonic() - began:.0f} s, {memory[-1] / 1024:.1f} MiB, {data[-1]} blocks")
    per_job = slope(memory[WARM:])
    held = slope(objects[WARM // 2 :])
    print(
        f"{count} jobs in {time.monotonic() - began:.0f} s: {memory[WARM] / 1024:.1f} MiB after {WARM},"
        f" {memory[-1] / 1024:.1f} MiB at the end, {per_job:+.1f} KiB and {held:+.1f} Python objects a job"
    )
    assert per_job < MOST_KIB
    assert held < MOST_OBJECTS
    assert sorted(block.name for block in bpy.data.user_map()) == purged
    assert len(set(data)) == 1, "each asset went as it came"

    assert {str(job.state) for job in queue.jobs()} == {"imported"}
    assert len(children() - processes) == 1, "one worker has made them all"
    session.session.close()
    assert children() == processes
    assert threads() <= before
    assert set(Path(bpy.app.tempdir).iterdir()) <= scratch
    assert not list(temporary.iterdir())
    _only_assets_are_left(session, count)


def _wait_for_one_more(session: ModuleType, placed: int) -> None:
    """Call the timer's function as Blender would, until one asset more is placed."""
    end = time.monotonic() + PATIENCE_S
    while sum(job.state == "imported" for job in session.known_jobs()) <= placed:
        assert time.monotonic() < end, [job for job in session.known_jobs() if job.state != "imported"]
        delay = session._tick()
        assert delay is not None
        time.sleep(min(delay, 0.05))


def _put_away(number: int) -> None:
    """Delete the asset as an artist does, and now and then what it left, as saving and opening the file would."""
    (made,) = [item for item in bpy.data.objects if "espalier" in item]
    if number % 3:
        bpy.data.objects.remove(made)
    else:
        for item in bpy.context.selected_objects:
            item.select_set(item == made)
        assert bpy.ops.object.delete() == {"FINISHED"}
    bpy.ops.outliner.orphans_purge(do_local_ids=True, do_linked_ids=True, do_recursive=True)


def _only_assets_are_left(session: ModuleType, count: int) -> None:
    """See that the extension's own folder holds the ledger and one whole result a job."""
    folder = session.user_folder()
    assert {path.name for path in folder.iterdir() if path.is_dir()} <= ROOMS
    assert [path.name for path in folder.iterdir() if path.is_file()] == [session.LEDGER]
    assert not list((folder / "owners").iterdir())
    results = list((folder / "library").iterdir())
    assert len(results) == count
    files = {path.relative_to(result).as_posix() for result in results for path in result.rglob("*")}
    assert {"asset.glb", "request.json", "result.json", "thumbnail.png"} <= files
    assert not [name for name in files if "partial" in name or name.startswith(".") or name.endswith(".tmp")]
