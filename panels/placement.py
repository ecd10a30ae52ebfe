# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the next asset goes, and how it stands there."""

from __future__ import annotations

import bpy

from ..operators import placement_settings as settings
from .sidebar import ESPALIER_PT_main, SidebarPanel


class ESPALIER_PT_placement(SidebarPanel, bpy.types.Panel):
    """Place, front, origin, height and collection of the next asset."""

    bl_idname = "ESPALIER_PT_placement"
    bl_label = "Placement"
    bl_parent_id = ESPALIER_PT_main.bl_idname
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what is chosen; what the chosen place decides by itself is disabled."""
        chosen = settings.chosen()
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        instead = chosen.where == settings.STAND_IN
        layout.prop(chosen, "where")
        if instead:
            layout.prop(chosen, "stretch")
        if chosen.where == settings.SURFACE:
            layout.prop(chosen, "align")
        layout.prop(chosen, "facing")
        column = layout.column()
        column.enabled = not instead
        column.prop(chosen, "origin")
        row = column.row(heading="Height")
        row.prop(chosen, "use_height", text="")
        value = row.row()
        value.enabled = chosen.use_height
        value.prop(chosen, "height", text="")
        column.prop(context.scene.espalier, "collection")
