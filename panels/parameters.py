# SPDX-License-Identifier: GPL-3.0-or-later
"""One sub-panel for each group of the parameter table."""

from __future__ import annotations

import bpy

from ..engine.parameters import GROUPS, REBUILD_NAMES, REBUILD_PARAMETERS, SETTINGS, Group
from ..operators.rebuild import rebuildable
from .server import draw_limit
from .sidebar import ESPALIER_PT_main, SidebarPanel


def _draw(self: bpy.types.Panel, context: bpy.types.Context) -> None:
    """Draw the group's settings; those that the engine ignores are disabled, with the reason in their tooltip.

    A rebuild of the selected asset follows its settings whatever the engine.
    """
    settings = context.scene.espalier
    layout = self.layout
    layout.use_property_split = True
    layout.use_property_decorate = False
    can_rebuild = rebuildable(context.object)
    for parameter in SETTINGS:
        if parameter.group == self.group:
            row = layout.row()
            row.enabled = parameter.honoured_by(settings.engine) or (can_rebuild and parameter.name in REBUILD_NAMES)
            row.prop(settings, parameter.name)
            draw_limit(layout, settings, parameter.name)
    if self.group == "mesh":
        _draw_rebuild(layout, settings, can_rebuild)


def _draw_rebuild(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, enabled: bool) -> None:
    """Draw what makes another mesh of the selected asset; the settings above and those of UV Unwrap count too."""
    layout.separator()
    column = layout.column()
    column.enabled = enabled
    for parameter in REBUILD_PARAMETERS:
        column.prop(settings, parameter.name)
    column.prop(settings, "lods")
    layout.operator("espalier.rebuild", icon="MOD_REMESH")


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
