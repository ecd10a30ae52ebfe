# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to a job that was submitted. None of it is undoable: jobs are not part of the .blend."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..engine.errors import EspalierError
from ..engine.jobs.job import State
from . import account, checking, pricing, queue_list, session
from .languages import msgid, say


class _JobOperator:
    bl_options = {"REGISTER"}

    job: bpy.props.StringProperty(name="Job", options={"SKIP_SAVE", "HIDDEN"})

    def act(self) -> None:
        """Do the one thing. May raise EspalierError."""

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Do it, or say in the panel and in the report why not."""
        try:
            self.act()
        except EspalierError as error:
            return session.refuse(self, error, self.job)
        session.watch()
        session.redraw()
        return {"FINISHED"}


class ESPALIER_OT_cancel(_JobOperator, bpy.types.Operator):
    """Stop this job and give back the memory that it uses"""

    bl_idname = "espalier.cancel"
    bl_label = "Cancel"

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Tell what stopping does not undo."""
        job = session.known_job(properties.job)
        if job is not None and job.request.engine == account.ENGINE:
            return say("Stop waiting for this asset. What the server has accepted may still be billed")
        return say(cls.__doc__)

    def act(self) -> None:
        session.session.open_queue().cancel(self.job)


class ESPALIER_OT_retry(_JobOperator, bpy.types.Operator):
    """Run this job again with the same image and settings"""

    bl_idname = "espalier.retry"
    bl_label = "Retry"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first where this may be paid for twice, or costs more than the person wants to spend unasked."""
        job = session.known_job(self.job)
        # What has an id at its server is asked after, not sent again.
        if job is not None and not job.remote_id:
            price = pricing.price_of(job.request)
            if job.state is State.UNKNOWN:
                message = msgid("The server may have it already, and would bill it again")
                return pricing.confirm(self, context, event, price, message)
            if pricing.to_ask(price):
                return pricing.confirm(self, context, event, price, msgid("It is sent to the server again"))
        return self.execute(context)

    def act(self) -> None:
        session.session.open_queue().retry(self.job)
        session.session.error = None


class ESPALIER_OT_fetch(_JobOperator, bpy.types.Operator):
    """Come for the asset that the account's usage lists from that time; nothing is generated or billed again"""

    bl_idname = "espalier.fetch"
    bl_label = "Fetch It"

    def act(self) -> None:
        queue = session.session.open_queue()
        name = checking.found(queue.job(self.job))
        if not name:
            raise EspalierError("remote_not_found")
        queue.retry(self.job, name)


class ESPALIER_OT_put_away(_JobOperator, bpy.types.Operator):
    """Take this off the list. A finished asset stays in the library without being placed"""

    bl_idname = "espalier.put_away"
    bl_label = "Put Away"

    def act(self) -> None:
        queue = session.session.open_queue()
        job = queue.job(self.job)
        if job.state is State.UNKNOWN and job.error is not None:
            queue.mark_failed(self.job, job.error)
        elif job.state is State.READY:
            queue.mark_imported(self.job)
        queue.clear((self.job,))


class ESPALIER_OT_move_up(_JobOperator, bpy.types.Operator):
    """Let this job pass the one that is ahead of it and waits for the same engine"""

    bl_idname = "espalier.move_up"
    bl_label = "Move Up"

    def act(self) -> None:
        session.session.open_queue().move_up(self.job)


class ESPALIER_OT_clear(_JobOperator, bpy.types.Operator):
    """Take all jobs off the list that are done, failed or cancelled. Finished assets stay in the library"""

    bl_idname = "espalier.clear"
    bl_label = "Clear"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Ask for something that can be taken off."""
        if not queue_list.clearable():
            cls.poll_message_set(say("No job is done, failed or cancelled"))
            return False
        return True

    def act(self) -> None:
        session.session.open_queue().clear(queue_list.clearable())
        session.session.error = None


class ESPALIER_OT_open_file(_JobOperator, bpy.types.Operator):
    """Open the file that this was made for, where it is placed by itself. Blender asks for unsaved changes first"""

    bl_idname = "espalier.open_file"
    bl_label = "Open That File"

    def act(self) -> None:
        job = session.session.open_queue().job(self.job)
        path = queue_list.file_of(job)
        if not Path(path).is_file():
            raise EspalierError("blend_missing", path=path or say("(never saved)"), name=job.request.name)
        bpy.ops.wm.open_mainfile("INVOKE_DEFAULT", filepath=path, display_file_selector=False)


class ESPALIER_OT_dismiss(_JobOperator, bpy.types.Operator):
    """Hide this message"""

    bl_idname = "espalier.dismiss"
    bl_label = "Dismiss"

    what: bpy.props.EnumProperty(
        items=(("error", "Error", ""), ("notice", "Notice", "")), options={"SKIP_SAVE", "HIDDEN"}
    )

    def act(self) -> None:
        if self.what == "notice":
            session.session.notice = ""
        else:
            session.session.error = None


OPERATORS = (
    ESPALIER_OT_cancel,
    ESPALIER_OT_retry,
    ESPALIER_OT_fetch,
    ESPALIER_OT_put_away,
    ESPALIER_OT_move_up,
    ESPALIER_OT_clear,
    ESPALIER_OT_open_file,
    ESPALIER_OT_dismiss,
)
