# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands do: files in, files out, through the same queue as the panel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import bpy

from ...engine.errors import FAILURE, EspalierError
from ...engine.files import copy_whole, ensure_writable
from ...engine.jobs.job import Job, State
from ...engine.mesh.layout import level_folder
from .. import session, trellis2
from ..scene.asset import discard_asset, place_asset
from ..scene.exchange import mark_level, place_levels
from ..scene.preview import render_preview
from ..scene.save import save_blend
from .arguments import Item, Options
from .interrupt import interruptible
from .report import Report, private_stdout
from .spending import agree

Timed = Callable[[str, str], AbstractContextManager[None]]
"""Told the name of a step in Blender and what is shown of it; the step is done within."""


def run(options: Options) -> int:
    """Carry out every request and write its files; return the exit code. One failure does not stop the others."""
    with private_stdout() as stream, interruptible() as interrupted, trellis2.fast(options.fast):
        report = Report(stream, options.json)
        for item in options.items:
            for path in _paths(item):
                ensure_writable(path)
        items = agree(options, report)
        queue = session.session.open_queue()
        jobs: dict[str, Item] = {}
        failed = 0
        for item in items:
            job = queue.submit(item.request)
            jobs[job] = item
            report.submitted(queue.job(job))
        waiting = dict(jobs)
        while waiting:
            if interrupted():
                for job in waiting:
                    if queue.job(job).active:
                        queue.cancel(job)
            for changed in session.advance():
                if changed.id in waiting and changed.active:
                    report.progress(changed)
            for job in [queue.job(job) for job in waiting]:
                if job.active:
                    continue
                item = waiting.pop(job.id)
                try:
                    _deliver(job, item, report)
                except EspalierError as error:
                    failed += 1
                    report.failed(item.request.origin, error, job.id)
        session.settle()
        report.total(len(jobs) - failed, failed)
    session.session.close()
    return FAILURE if failed else 0


def _paths(item: Item) -> list[Path]:
    return [path for path in (item.glb, *item.levels, item.blend, item.preview) if path is not None]


def _deliver(job: Job, item: Item, report: Report) -> None:
    """Write the files of a finished job. Raises EspalierError, also for a job that failed or was cancelled."""
    if job.error is not None:
        raise job.error
    if job.state is not State.READY or job.folder is None:
        raise EspalierError("job_stopped", name=job.request.name)
    files = {"glb": item.glb}
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str, text: str) -> Iterator[None]:
        report.step(job, name, text)
        start = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - start

    copy_whole(job.folder / "asset.glb", item.glb)
    for index, path in enumerate(item.levels, 1):
        copy_whole(level_folder(job.folder, index) / "asset.glb", path)
        files[f"lod{index}"] = path
    files |= write_scene(job, item.blend, item.preview, len(item.levels), timed)
    session.session.open_queue().mark_imported(job.id)
    report.done(job, files, seconds)


def write_scene(job: Job, blend: Path | None, preview: Path | None, lower: int, timed: Timed) -> dict[str, Path]:
    """Write what needs the asset of a finished `job` in a scene, with `lower` levels of detail below the first.

    Returns the files by what they are; nothing of the asset stays. Raises EspalierError.
    """
    files: dict[str, Path] = {}
    if blend is None and preview is None:
        return files
    scene = bpy.context.scene
    with timed("place", "Placing it in the scene"):
        placed = place_asset(bpy.context, job, scene, scene.collection, (0.0, 0.0, 0.0))
    levels: list[bpy.types.Object] = []
    try:
        if blend is not None:
            with timed("save", "Saving the .blend"):
                if lower:
                    assert job.folder is not None, job.id
                    collection = place_levels(bpy.context, job, 1 + lower, placed, job.folder, first=1)
                    levels = list(collection.objects)
                    bpy.data.collections.remove(collection)
                    mark_level(placed, job, 0)
                save_blend(blend, placed, *levels)
            files["blend"] = blend
        if preview is not None:
            with timed("preview", "Rendering the preview"):
                render_preview(placed, preview)
            files["preview"] = preview
    finally:
        for made in (placed, *levels):
            discard_asset(made)
    return files
