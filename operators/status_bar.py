# SPDX-License-Identifier: GPL-3.0-or-later
"""A line in Blender's status bar that says what became of a job, for a few seconds."""

from __future__ import annotations

import time

import bpy

from ..engine.jobs.job import Job, State
from . import queue_list
from .languages import say

SHOWN_S = 8.0

_text = ""
_icon = "NONE"
_until = 0.0
_told: dict[str, State] = {}
"""Job -> the state of it that was told last: what changes besides is no news."""


def tell(job: Job) -> None:
    """Say what became of `job` if that is news: it is in the scene, waits for the person, or failed."""
    if job.active:
        _told.pop(job.id, None)
        return
    text, icon = _words(job)
    if not text or _told.get(job.id) is job.state:
        return
    _told[job.id] = job.state
    show(text, icon)


def _words(job: Job) -> tuple[str, str]:
    name = job.request.name
    if job.state is State.IMPORTED:
        return say("{name} is finished", name=name), "CHECKMARK"
    if queue_list.is_elsewhere(job):
        file = bpy.path.basename(queue_list.file_of(job)) or say("another file")
        return say("{name} is finished and belongs to {file}", name=name, file=file), "QUESTION"
    if job.state is State.FAILED:
        return say("{name} was not generated", name=name), "ERROR"
    if job.state is State.UNKNOWN:
        return say("{name} has an unknown outcome", name=name), "QUESTION"
    return "", "NONE"


def show(text: str, icon: str) -> None:
    """Show `text` in the status bar of every window for `SHOWN_S` seconds."""
    global _text, _icon, _until
    _text, _icon, _until = text, icon, time.monotonic() + SHOWN_S
    if not bpy.app.background:
        if bpy.app.timers.is_registered(_end):
            bpy.app.timers.unregister(_end)
        bpy.app.timers.register(_end, first_interval=SHOWN_S, persistent=True)
    _redraw()


def words() -> str:
    """Return what the status bar shows now, empty where that is nothing."""
    return _text if time.monotonic() < _until else ""


def draw(self: bpy.types.Header, _context: bpy.types.Context) -> None:
    """Draw the line at the end of what Blender itself shows there."""
    text = words()
    if text:
        self.layout.label(text=text, icon=_icon)


def _end() -> None:
    global _text
    _text = ""
    _redraw()


def _redraw() -> None:
    """Have the status bars drawn again: they are no areas of the screen, but heed which view layer is shown."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager else ():
        window.view_layer = window.view_layer


def register() -> None:
    """Add the line to the status bar."""
    bpy.types.STATUSBAR_HT_header.append(draw)


def unregister() -> None:
    """Take it off again, with what it shows."""
    if bpy.app.timers.is_registered(_end):
        bpy.app.timers.unregister(_end)
    bpy.types.STATUSBAR_HT_header.remove(draw)
    _end()
    _told.clear()
