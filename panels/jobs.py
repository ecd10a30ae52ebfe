# SPDX-License-Identifier: GPL-3.0-or-later
"""What is running, waiting, or finished and not yet in a scene."""

from __future__ import annotations

import bpy

from ..engine.jobs.job import Job, State
from ..operators import checking, session
from ..operators.text import draw_wrapped, duration
from .sidebar import ESPALIER_PT_main, SidebarPanel

MOST_SHOWN = 8
FETCH = "Press Fetch It to come for that one, without another bill."


def _shown() -> list[Job]:
    waiting = (State.READY, State.UNKNOWN)
    return [job for job in session.known_jobs() if job.active or job.state in waiting]


def progress_text(job: Job) -> str:
    """Return the stage, and the remaining time unless the engine's own note tells it, as the bar shows them."""
    if job.cancelling:
        return "Cancelling"
    if job.state is State.QUEUED:
        return "Waiting"
    text = job.label or "Starting"
    if job.remaining_s is not None and " left" not in job.note:
        text += f", about {duration(job.remaining_s)} left"
    return text


class ESPALIER_PT_jobs(SidebarPanel, bpy.types.Panel):
    """The jobs under way, those whose outcome is not known, and the finished ones that wait to be placed."""

    bl_idname = "ESPALIER_PT_jobs"
    bl_label = "Jobs"
    bl_parent_id = ESPALIER_PT_main.bl_idname
    bl_options = {"HIDE_HEADER"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Show the panel only while there is something in it."""
        return bool(_shown())

    def draw(self, context: bpy.types.Context) -> None:
        """Draw a bar for each job, with Cancel, or Import once it is finished; what is known of an unknown one."""
        jobs = _shown()
        for job in jobs[:MOST_SHOWN]:
            if job.state is State.UNKNOWN:
                self._draw_unknown(context, job)
            else:
                self._draw_job(context, job)
        if len(jobs) > MOST_SHOWN:
            self.layout.label(text=f"and {len(jobs) - MOST_SHOWN} more")

    def _draw_job(self, context: bpy.types.Context, job: Job) -> None:
        column = self.layout.column(align=True)
        column.label(text=job.request.name, icon="IMAGE_DATA")
        row = column.row(align=True)
        if job.active:
            row.progress(factor=job.fraction, text=progress_text(job))
            row.operator("espalier.cancel", text="", icon="X").job = job.id
            if job.note:
                draw_wrapped(column, context, job.note)
        else:
            row.operator("espalier.import_asset", icon="IMPORT").job = job.id
            row.operator("espalier.put_away", text="", icon="X").job = job.id

    def _draw_unknown(self, context: bpy.types.Context, job: Job) -> None:
        """Draw what is known of a job that may have been carried out and billed, and what can be done about it."""
        box = self.layout.box()
        row = box.row()
        row.alert = True
        row.label(text=f"{job.request.name}: Outcome Unknown", icon="QUESTION")
        row.operator("espalier.put_away", text="", icon="X", emboss=False).job = job.id
        column = box.column(align=True)
        for sentence in checking.known(job):
            draw_wrapped(column, context, sentence)
        found = checking.found(job)
        if job.error is not None:
            column.separator()
            draw_wrapped(column, context, FETCH if found else job.error.remedy)
        row = box.row(align=True)
        if found:
            row.operator("espalier.fetch", icon="IMPORT").job = job.id
        else:
            row.operator("espalier.check_usage", icon="VIEWZOOM")
        row.operator("espalier.retry", icon="FILE_REFRESH").job = job.id
