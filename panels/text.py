# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences in a sidebar: Blender's labels do not wrap."""

from __future__ import annotations

import textwrap

import blf
import bpy

FONT = 0
MARGIN = 5.0
"""What a box and the region's borders take from the width, in widget heights."""


def draw_wrapped(layout: bpy.types.UILayout, context: bpy.types.Context, text: str) -> None:
    """Draw `text` as labels that fit into the region, broken at words."""
    style = context.preferences.ui_styles[0].widget
    scale = context.preferences.system.ui_scale
    blf.size(FONT, style.points * scale)
    average = blf.dimensions(FONT, text)[0] / max(len(text), 1)
    usable = max(context.region.width - MARGIN * 20.0 * scale, 40.0 * scale)
    for line in textwrap.wrap(text, max(int(usable / max(average, 1.0)), 8)):
        row = layout.row()
        row.scale_y = 0.75
        row.label(text=line)
