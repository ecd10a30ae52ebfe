# SPDX-License-Identifier: GPL-3.0-or-later
"""How the engines of this machine stand, with the buttons to install, repair and remove them."""

from __future__ import annotations

import bpy

from ..operators import environments
from ..operators.environment_rows import draw_environments
from .sidebar import ESPALIER_PT_main, SidebarPanel


class ESPALIER_PT_environments(SidebarPanel, bpy.types.Panel):
    """Each environment as ready, installable, broken or impossible here."""

    bl_idname = "ESPALIER_PT_environments"
    bl_label = "Environments"
    bl_parent_id = ESPALIER_PT_main.bl_idname
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header_preset(self, _context: bpy.types.Context) -> None:
        """Draw how far a task is, or that one failed, where it is seen with the panel closed."""
        state = environments.state
        if state.task is not None:
            self.layout.label(text=f"{state.task.fraction:.0%}", translate=False)
        elif state.error is not None:
            self.layout.label(icon="ERROR")

    def draw(self, context: bpy.types.Context) -> None:
        """Draw a box for each environment."""
        layout = self.layout
        draw_environments(layout, context)
        row = layout.row(align=True)
        row.operator("espalier.look_at_environments", icon="FILE_REFRESH")
        row.operator("preferences.addon_show", text="Preferences", icon="PREFERENCES").module = environments.PACKAGE
