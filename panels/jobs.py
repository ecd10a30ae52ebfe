# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue: what runs, waits, failed or is done, and what waits for the person."""

from __future__ import annotations

import bpy

from ..engine.jobs.job import Job, State
from ..operators import checking, queue_list, session, thumbnails
from ..operators.languages import msgid, say, sentences, told
from ..operators.text import draw_wrapped, duration
from .sidebar import ESPALIER_PT_main, SidebarPanel

ROWS = 6
"""Rows of the list before it scrolls; two at least, for the buttons beside it."""
MOST_ASKED = 3
"""Questions below the list that are shown at a time."""
NAMES = 0.55
"""Share of a row that the name gets."""
FETCH = msgid("Press Fetch It to come for that one, without another bill.")
STATES = {
    State.FAILED: msgid("Failed"),
    State.CANCELLED: msgid("Cancelled"),
    State.UNKNOWN: msgid("Unknown"),
    State.IMPORTED: msgid("Done"),
}


def progress_text(job: Job) -> str:
    """Return the stage, and the remaining time unless the engine's own note tells it, as shown below the list."""
    if job.cancelling:
        return say("Cancelling")
    if job.state is State.QUEUED:
        return say("Waiting")
    text = told(job.label) if job.label else say("Starting")
    if job.remaining_s is not None and " left" not in job.note:
        return say("{stage}, about {time} left", stage=text, time=duration(job.remaining_s))
    return text


def row_text(job: Job) -> str:
    """Return where a job is in the few letters for which a row has room."""
    if job.cancelling:
        return say("Cancelling")
    if job.state is State.QUEUED:
        return say("Waiting")
    if job.state is State.READY:
        return say("Other File") if queue_list.is_elsewhere(job) else say("Finished")
    if not job.active:
        return say(STATES[job.state])
    if job.remaining_s is not None:
        return duration(job.remaining_s)
    return f"{job.fraction:.0%}"


class ESPALIER_UL_jobs(bpy.types.UIList):
    """The rows of the queue."""

    bl_idname = "ESPALIER_UL_jobs"

    def draw_item(
        self,
        _context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: object,
        item: queue_list.EspalierQueueItem,
        _icon: int,
        _active_data: object,
        _active_property: str,
    ) -> None:
        """Draw the picture, the name, how far it is, and the one button that is wanted most."""
        job = session.known_job(item.job)
        if job is None:
            layout.label(text=item.name, translate=False)
            return
        split = layout.split(factor=NAMES, align=True)
        picture = thumbnails.icon_of(job)
        if picture:
            split.label(text=queue_list.title(job), icon_value=picture, translate=False)
        else:
            split.label(text=queue_list.title(job), icon="MESH_DATA", translate=False)
        row = split.row(align=True)
        if job.active and job.state is not State.QUEUED:
            row.progress(factor=job.fraction, text=row_text(job), translate=False)
        else:
            state = row.row()
            state.alert = job.state in (State.FAILED, State.UNKNOWN)
            state.active = job.state not in (State.CANCELLED, State.IMPORTED)
            state.label(text=row_text(job), translate=False)
        if job.active:
            row.operator("espalier.cancel", text="", icon="X", emboss=False).job = job.id
        elif job.state in (State.FAILED, State.CANCELLED):
            row.operator("espalier.retry", text="", icon="FILE_REFRESH", emboss=False).job = job.id
        else:
            row.operator("espalier.put_away", text="", icon="X", emboss=False).job = job.id


class ESPALIER_PT_jobs(SidebarPanel, bpy.types.Panel):
    """The list of jobs, more of the chosen one, and the questions of those that wait for the person."""

    bl_idname = "ESPALIER_PT_jobs"
    bl_label = "Queue"
    bl_parent_id = ESPALIER_PT_main.bl_idname
    bl_options = {"HIDE_HEADER"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Show the panel only while there is something in it."""
        return bool(queue_list.shown())

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the list, then the chosen job, then what is asked about others."""
        jobs = queue_list.shown()
        queue = context.window_manager.espalier_queue
        chosen = queue_list.chosen()
        row = self.layout.row()
        rows = min(max(len(jobs), 2), ROWS)
        row.template_list("ESPALIER_UL_jobs", "", queue, "items", queue, "active", rows=rows, maxrows=rows)
        buttons = row.column(align=True)
        up = buttons.row()
        up.enabled = chosen is not None and chosen.state is State.QUEUED
        up.operator("espalier.move_up", text="", icon="TRIA_UP").job = chosen.id if chosen is not None else ""
        buttons.operator("espalier.clear", text="", icon="TRASH")
        if chosen is not None and not queue_list.asks(chosen):
            self._draw_chosen(context, chosen)
        asked = [job for job in jobs if queue_list.asks(job)]
        asked.sort(key=lambda job: chosen is None or job.id != chosen.id)
        for job in asked[:MOST_ASKED]:
            if job.state is State.UNKNOWN:
                self._draw_unknown(context, job)
            else:
                self._draw_finished(context, job)
        if len(asked) > MOST_ASKED:
            more = say("{count} more wait for an answer", count=len(asked) - MOST_ASKED)
            self.layout.label(text=more, translate=False)

    def _draw_chosen(self, context: bpy.types.Context, job: Job) -> None:
        """Draw what a row has no room for."""
        column, title = self.layout.column(align=True), queue_list.title(job)
        if job.active:
            draw_wrapped(column, context, say("{label}: {value}", label=title, value=progress_text(job)))
        elif job.error is not None:
            if job.id == session.session.error_job and session.session.error is not None:
                return  # it is told above
            cause, remedy = sentences(job.error)
            draw_wrapped(column, context, say("{label}: {value}", label=title, value=cause))
            draw_wrapped(column, context, remedy)
        elif job.started is not None and job.finished is not None:
            took = duration(job.finished - job.started)
            draw_wrapped(column, context, say("{name}: {state}, in {time}", name=title, state=row_text(job), time=took))
        if job.note:
            draw_wrapped(column, context, told(job.note))

    def _draw_finished(self, context: bpy.types.Context, job: Job) -> None:
        """Ask where a finished asset is to go, whose file is not open, or which could not be placed."""
        box = self.layout.box()
        row = box.row()
        row.label(text=say("{name} Is Finished", name=job.request.name), icon="QUESTION", translate=False)
        row.operator("espalier.put_away", text="", icon="X", emboss=False).job = job.id
        if not queue_list.is_elsewhere(job):
            box.operator("espalier.import_asset", icon="IMPORT").job = job.id
            return
        path = queue_list.file_of(job)
        if path:
            whose = say("It belongs to {file}, which is not open.", file=bpy.path.basename(path))
        else:
            whose = say("It belongs to a file that was not saved then.")
        draw_wrapped(box.column(align=True), context, whose)
        column = box.column(align=True)
        column.operator("espalier.import_asset", text="Import Here", icon="IMPORT").job = job.id
        if path:
            column.operator("espalier.open_file", icon="FILE_FOLDER").job = job.id

    def _draw_unknown(self, context: bpy.types.Context, job: Job) -> None:
        """Draw what is known of a job that may have been carried out and billed, and what can be done about it."""
        box = self.layout.box()
        row = box.row()
        row.alert = True
        row.label(text=say("{name}: Outcome Unknown", name=job.request.name), icon="QUESTION", translate=False)
        row.operator("espalier.put_away", text="", icon="X", emboss=False).job = job.id
        column = box.column(align=True)
        for sentence in checking.known(job):
            draw_wrapped(column, context, sentence)
        found = checking.found(job)
        if job.error is not None:
            column.separator()
            draw_wrapped(column, context, say(FETCH) if found else sentences(job.error)[1])
        row = box.row(align=True)
        if found:
            row.operator("espalier.fetch", icon="IMPORT").job = job.id
        else:
            row.operator("espalier.check_usage", icon="VIEWZOOM")
        row.operator("espalier.retry", icon="FILE_REFRESH").job = job.id
