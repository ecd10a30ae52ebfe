# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of jobs as Blender's own list widget wants it: which are shown, in which order, and which one is chosen.

It lies on the window manager, which is not saved and knows no undo, and is brought up to date when a job changes; what
a row shows is looked up in the queue as it is drawn.
"""

from __future__ import annotations

import bpy

from ..engine.jobs.job import Job, State
from . import placing, session
from .languages import say
from .variations import VARIATIONS

_ENDED = (State.FAILED, State.CANCELLED, State.IMPORTED)
_ORDER = {
    **dict.fromkeys((State.SUBMITTING, State.RUNNING, State.FETCHING), 0),
    **dict.fromkeys((State.UNKNOWN, State.READY), 1),
    State.QUEUED: 2,
    **dict.fromkeys((State.FAILED, State.CANCELLED), 3),
    State.IMPORTED: 4,
}
"""What runs, what waits for the person, what waits for its turn, what failed, and what is done."""


_last = ""
"""The job of the list that was begun last, or is the first in line where none was, when the list was last seen to."""


class EspalierQueueItem(bpy.types.PropertyGroup):
    """A row; `name` is what the list's own search looks at."""

    job: bpy.props.StringProperty(name="Job")


class EspalierQueue(bpy.types.PropertyGroup):
    """All rows, and the number of the chosen one."""

    items: bpy.props.CollectionProperty(type=EspalierQueueItem)
    active: bpy.props.IntProperty(name="Job", description="Click a job to see more of it")


def shown() -> list[Job]:
    """Return the jobs of the list in its order, without touching the disk.

    Those that were placed or cancelled before this Blender looked are not among them, nor are those that were cleared.
    """
    queue = session.session.queue
    if queue is None:
        return []
    jobs = [job for job in queue.listed() if job.active or _is_told(job, queue.opened)]
    # The newest first of what has ended, whose turn is first of what has not.
    return sorted(jobs, key=lambda job: (_ORDER[job.state], job.turn if job.active else (-job.created, 0.0, job.id)))


def _is_told(job: Job, opened: float) -> bool:
    if job.state is State.IMPORTED or (job.state is State.CANCELLED and job.error is None):
        return (job.finished or 0.0) >= opened
    return True


def clearable() -> list[str]:
    """Return the jobs of the list that need nothing more from anybody."""
    return [job.id for job in shown() if job.state in _ENDED]


def is_elsewhere(job: Job) -> bool:
    """Tell whether a finished job belongs to a file that is not open."""
    return job.state is State.READY and not placing.belongs_here(job.placement, session.session.file)


def asks(job: Job) -> bool:
    """Tell whether a job waits for the person: for what is to become of it, not only for a quiet moment."""
    return (
        job.state is State.UNKNOWN or is_elsewhere(job) or (job.state is State.READY and job.id in session.session.held)
    )


def file_of(job: Job) -> str:
    """Return the path of the file that a job belongs to, empty where that was never saved."""
    return str(job.placement.get("blend") or "")


def title(job: Job) -> str:
    """Return what a job is called: by its name, one of several seeds of an image by the seed first."""
    seed = job.request.parameters.get("seed") if VARIATIONS in job.placement else None
    return job.request.name if seed is None else say("Seed {seed}, {name}", seed=seed, name=job.request.name)


def chosen() -> Job | None:
    """Return the job of the chosen row, None where the list is empty."""
    queue = bpy.context.window_manager.espalier_queue
    if not queue.items:
        return None
    return session.known_job(queue.items[min(max(queue.active, 0), len(queue.items) - 1)].job)


def sync() -> None:
    """Bring the rows up to date. Not while drawing: Blender forbids changes then.

    The chosen job stays chosen; where that is the one that was begun last, the next one that is begun takes its place.
    """
    global _last
    manager = bpy.context.window_manager
    if manager is None or not hasattr(manager, "espalier_queue"):
        return
    queue, jobs = manager.espalier_queue, shown()
    before = [item.job for item in queue.items]
    now = [job.id for job in jobs]
    picked = before[queue.active] if 0 <= queue.active < len(before) else ""
    last = max(jobs, key=lambda job: job.started or 0.0).id if jobs else ""  # of several the first
    if picked not in now or picked == _last:
        picked = last
    _last = last
    if before != now:
        queue.items.clear()
        for job in jobs:
            item = queue.items.add()
            item.name, item.job = title(job), job.id
    number = now.index(picked) if jobs else 0
    if queue.active != number:
        queue.active = number


@bpy.app.handlers.persistent
def _file_opened(*_args: object) -> None:
    sync()


def register() -> None:
    """Give the window manager the list, and fill it again after another file was opened."""
    bpy.types.WindowManager.espalier_queue = bpy.props.PointerProperty(type=EspalierQueue)
    bpy.app.handlers.load_post.append(_file_opened)


def unregister() -> None:
    """Take it away again."""
    bpy.app.handlers.load_post.remove(_file_opened)
    del bpy.types.WindowManager.espalier_queue


CLASSES = (EspalierQueueItem, EspalierQueue)
