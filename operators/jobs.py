# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to a job that was submitted. None of it is undoable: jobs are not part of the .blend."""

from __future__ import annotations

import bpy

from ..engine.errors import EspalierError
from . import session


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
            session.fail(error, self.job)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        session.watch()
        session.redraw()
        return {"FINISHED"}


class ESPALIER_OT_cancel(_JobOperator, bpy.types.Operator):
    """Stop this job and give back the memory that it uses"""

    bl_idname = "espalier.cancel"
    bl_label = "Cancel"

    def act(self) -> None:
        session.session.open_queue().cancel(self.job)


class ESPALIER_OT_retry(_JobOperator, bpy.types.Operator):
    """Run this job again with the same image and settings"""

    bl_idname = "espalier.retry"
    bl_label = "Retry"

    def act(self) -> None:
        session.session.open_queue().retry(self.job)
        session.session.error = None


class ESPALIER_OT_put_away(_JobOperator, bpy.types.Operator):
    """Take this finished asset off the list without placing it; it stays in the library"""

    bl_idname = "espalier.put_away"
    bl_label = "Put Away"

    def act(self) -> None:
        session.session.open_queue().mark_imported(self.job)


class ESPALIER_OT_dismiss(_JobOperator, bpy.types.Operator):
    """Hide this message"""

    bl_idname = "espalier.dismiss"
    bl_label = "Dismiss"

    def act(self) -> None:
        session.session.error = None
