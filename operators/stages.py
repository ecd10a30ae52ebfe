# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to the finished stages of TRELLIS.2: measured and cleared. None of it is part of the .blend."""

from __future__ import annotations

import bpy

from ..engine.errors import EspalierError
from . import session, trellis2
from .languages import OWN, say


class _StagesOperator:
    # Not undoable: finished stages are no part of the .blend.
    bl_options = {"REGISTER"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Do it, which takes some milliseconds."""
        try:
            self.act()
        except EspalierError as error:
            return session.refuse(self, error)
        return {"FINISHED"}


class ESPALIER_OT_measure_stages(_StagesOperator, bpy.types.Operator):
    """See how much the finished stages take on the disk"""

    bl_idname = "espalier.measure_stages"
    bl_label = "Measure"
    bl_translation_context = OWN

    def act(self) -> None:
        trellis2.measure_stages()


class ESPALIER_OT_clear_stages(_StagesOperator, bpy.types.Operator):
    """Delete the finished stages. Assets stay; what is generated again is computed from the start"""

    bl_idname = "espalier.clear_stages"
    bl_label = "Clear Cache"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Nothing is taken from a job."""
        if trellis2.at_work():
            cls.poll_message_set(say("A job of TRELLIS.2 uses them; wait until it is done, or cancel it"))
            return False
        return True

    def act(self) -> None:
        trellis2.clear_stages()


OPERATORS = (ESPALIER_OT_measure_stages, ESPALIER_OT_clear_stages)
