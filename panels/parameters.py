# SPDX-License-Identifier: GPL-3.0-or-later
"""One sub-panel for each group of the parameter table."""

from __future__ import annotations

import bpy

from ..engine.parameters import GROUPS, REBUILD_NAMES, REBUILD_PARAMETERS, SETTINGS, Group
from ..operators.former import can_revert, compared
from ..operators.languages import say
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
        _draw_rebuild(layout, settings, context.object if can_rebuild else None)


def _draw_rebuild(
    layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, target: bpy.types.Object | None
) -> None:
    """Draw what makes another mesh of the selected asset; the settings above and those of UV Unwrap count too.

    Below it, what the mesh is and was, and the way back.
    """
    layout.separator()
    column = layout.column()
    column.enabled = target is not None
    for parameter in REBUILD_PARAMETERS:
        column.prop(settings, parameter.name)
    column.prop(settings, "lods")
    layout.operator("espalier.rebuild", icon="MOD_REMESH")
    if target is None:
        return
    figures = layout.column(align=True)
    for label, value in compared(target):
        figures.label(text=say("{label}: {value}", label=label, value=value), translate=False)
    if can_revert(target):
        layout.operator("espalier.revert", icon="LOOP_BACK")


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
