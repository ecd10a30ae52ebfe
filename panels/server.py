# SPDX-License-Identifier: GPL-3.0-or-later
"""What the remote engine's server has billed and what it takes, and why it cannot be asked where that is so."""

from __future__ import annotations

import bpy

from ..engine.errors import EspalierError
from ..operators import account, pricing, session
from ..operators.languages import say, told
from ..operators.text import draw_error

LABELS = 0.4
"""Share of the width that Blender gives the labels of split properties."""


def draw_cost(layout: bpy.types.UILayout, context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> None:
    """Draw what was spent so far, and what keeps the server from being asked."""
    if settings.engine != account.ENGINE:
        return
    problem = account.problem()
    if problem is not None:
        _draw_problem(layout, context, problem)
    column = layout.column(align=True)
    spent = session.spent()
    if spent.all > 0.0:
        for label, price in ((say("This Session"), spent.session), (say("In All"), spent.all)):
            _draw_row(column, label, say("{price} spent", price=pricing.dollars(price)))


def draw_limit(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, name: str) -> None:
    """Draw, below a setting, that the server takes less than the setting's own range."""
    if settings.engine == account.ENGINE:
        limit = pricing.offer().limits.get(name)
        if limit is not None:
            _draw_row(layout, "", say("Server: {range}", range=told(limit.words)))


def _draw_row(layout: bpy.types.UILayout, label: str, value: str) -> None:
    split = layout.split(factor=LABELS)
    left = split.row()
    left.alignment = "RIGHT"
    left.label(text=label, translate=False)
    split.label(text=value, translate=False)


def _draw_problem(layout: bpy.types.UILayout, context: bpy.types.Context, problem: EspalierError) -> None:
    box = layout.box()
    column = box.column(align=True)
    draw_error(column, context, problem)
    if problem.code == "remote_offline":
        box.operator("screen.userpref_show", text="Open Preferences", icon="PREFERENCES").section = "SYSTEM"
    elif problem.code != "remote_locked":
        box.operator("preferences.addon_show", text="Open Preferences", icon="PREFERENCES").module = account.PACKAGE
