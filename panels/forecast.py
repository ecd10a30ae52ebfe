# SPDX-License-Identifier: GPL-3.0-or-later
"""The line above Generate that says what the next asset will take, in red where that is not to be had."""

from __future__ import annotations

import bpy

from ..operators import forecast
from ..operators.languages import sentences
from ..operators.text import draw_wrapped


def draw_forecast(layout: bpy.types.UILayout, context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> None:
    """Draw time, memory and price, and what would fit where the memory is too small."""
    told = forecast.forecast(settings)
    row = layout.row()
    mark = row.row()
    mark.scale_y = 0.75  # as high as a line of the words beside it
    mark.label(text="", icon="ERROR" if told.problem is not None else "TIME")
    column = row.column(align=True)
    draw_wrapped(column, context, told.words, longest=told.longest)
    if told.problem is not None:
        red = column.column(align=True)
        red.alert = True
        cause, remedy = sentences(told.problem)
        draw_wrapped(red, context, cause)
        draw_wrapped(column, context, remedy)
