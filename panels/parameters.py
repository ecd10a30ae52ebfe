# SPDX-License-Identifier: GPL-3.0-or-later
"""One sub-panel for each group of the parameter table."""

from __future__ import annotations

import bpy

from ..engine.parameters import GROUPS, SETTINGS, Group
from .sidebar import ESPALIER_PT_main, SidebarPanel


def _draw(self: bpy.types.Panel, context: bpy.types.Context) -> None:
    """Draw the group's settings; those that the engine ignores are disabled, with the reason in their tooltip."""
    settings = context.scene.espalier
    layout = self.layout
    layout.use_property_split = True
    layout.use_property_decorate = False
    for parameter in SETTINGS:
        if parameter.group == self.group:
            row = layout.row()
            row.enabled = parameter.honoured_by(settings.engine)
            row.prop(settings, parameter.name)


def _panel(group: Group) -> type:
    return type(
        f"ESPALIER_PT_{group.name}",
        (SidebarPanel, bpy.types.Panel),
        {
            "bl_idname": f"ESPALIER_PT_{group.name}",
            "bl_label": group.label,
            "bl_parent_id": ESPALIER_PT_main.bl_idname,
            "bl_options": {"DEFAULT_CLOSED"},
            "group": group.name,
            "draw": _draw,
        },
    )


PANELS = tuple(_panel(group) for group in GROUPS if group.name != "main")
