# SPDX-License-Identifier: GPL-3.0-or-later
"""Words for people: sentences that fit into a region, where Blender's labels do not wrap; and times."""

from __future__ import annotations

import textwrap

import blf
import bpy

FONT = 0
MARGIN = 5.0
"""What a box and the region's borders take from the width, in widget heights."""
VALUES = 0.4
"""Where the values begin beside the labels of split properties, as a share of the width."""


def draw_wrapped(
    layout: bpy.types.UILayout, context: bpy.types.Context, text: str, width: float = 0.0, longest: str = ""
) -> None:
    """Draw `text` as labels broken at words, so that they fit into the region, or into `width` (pixels at scale 1).

    It takes no fewer lines than `longest` would.
    """
    lines = _wrapped(context, text, width)
    room = len(_wrapped(context, longest, width)) if longest else 0
    for line in [*lines, *[""] * (room - len(lines))]:
        row = layout.row()
        row.scale_y = 0.75
        row.label(text=line)


def _wrapped(context: bpy.types.Context, text: str, width: float) -> list[str]:
    style = context.preferences.ui_styles[0].widget
    scale = context.preferences.system.ui_scale
    blf.size(FONT, style.points * scale)
    average = blf.dimensions(FONT, text)[0] / max(len(text), 1)
    whole = width * scale if width else context.region.width
    usable = max(whole - MARGIN * 20.0 * scale, 40.0 * scale)
    return textwrap.wrap(text, max(int(usable / max(average, 1.0)), 8))


def draw_note(column: bpy.types.UILayout, text: str, icon: str) -> None:
    """Draw a line below the values of split properties, in red with the icon `ERROR`."""
    split = column.split(factor=VALUES)
    split.label()
    row = split.row()
    row.alert = icon == "ERROR"
    row.label(text=text, icon=icon)


def duration(seconds: float) -> str:
    """Return a time a person can take in at a glance: 8 s, 2 min 5 s, 1 h 10 min."""
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
