# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether TRELLIS.2 can run on this machine, and the button that helps where it cannot."""

from __future__ import annotations

import bpy

from ..operators import environments, trellis2
from ..operators.environment_rows import draw_task
from ..operators.text import draw_error


def draw_readiness(layout: bpy.types.UILayout, context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> None:
    """Draw TRELLIS.2's own setting, what keeps it from running with what helps, and the notices of its parts."""
    if settings.engine != trellis2.ENGINE:
        return
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.prop(settings, "texture_seed")
    obstacle = trellis2.known_obstacle(settings.engine)
    if obstacle is not None:
        _draw_obstacle(layout.box(), context, obstacle)
    for notice in trellis2.notices():
        layout.label(text=notice, translate=False)


def _draw_obstacle(box: bpy.types.UILayout, context: bpy.types.Context, obstacle: trellis2.Obstacle) -> None:
    state = environments.state
    if state.task is not None and state.profile == obstacle.profile:
        draw_task(box, state.task)
        return
    row = box.row()
    row.label(text="TRELLIS.2 Is Not Ready", icon="ERROR")
    row.operator("espalier.look_at_environments", text="", icon="FILE_REFRESH")
    # What the button has led to is nearer than what it was for.
    error = state.error if state.error is not None and state.profile == obstacle.profile else obstacle.error
    column = box.column(align=True)
    draw_error(column, context, error)
    if obstacle.act:
        row = box.row()
        row.enabled = not state.working
        row.operator(f"espalier.{obstacle.act}_environment").profile = obstacle.profile
