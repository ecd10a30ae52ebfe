# SPDX-License-Identifier: GPL-3.0-or-later
"""The library as the preferences show it: whether it is in the Asset Browser, what it takes, and what may go."""

from __future__ import annotations

import bpy

from . import library, library_use
from .text import VALUES, draw_note, draw_wrapped


def draw_library(column: bpy.types.UILayout, context: bpy.types.Context, chosen: bpy.types.AddonPreferences) -> None:
    """Draw what is in memory; the disk is looked at by Measure, in a thread."""
    from ..engine.words import size_words

    column.label(text="Library")
    column.prop(chosen, "asset_library")
    helper = library.shelf.helper
    if helper is not None:
        draw_note(column, f"{len(helper.results):,} results are on their way into the Asset Browser", "SORTTIME")
    problem = library.shelf.problem or library_use.state.error
    if problem is not None:
        row = column.row()
        row.alert = True
        lines = row.column(align=True)
        draw_wrapped(lines, context, problem.cause)
        draw_wrapped(lines, context, problem.remedy)
    column.prop(chosen, "library_keep_days")
    column.prop(chosen, "library_keep_gb")
    state = library_use.state
    usage = state.usage
    split = column.split(factor=VALUES)
    split.label()
    row = split.row(align=True)
    if state.working:
        row.label(text="Measuring...")
    else:
        known = usage is not None
        row.label(text=f"{usage.count:,} results, {size_words(usage.size)}" if known else "Not measured yet")
    row.operator("espalier.measure_library")
    row.operator("espalier.clean_library", icon="TRASH")
    if usage is not None and not state.working:
        would = f"{usage.surplus:,} would go, {size_words(usage.surplus_size)}" if usage.surplus else "Nothing would go"
        draw_note(column, would, "INFO")
    if state.told:
        draw_note(column, state.told, "CHECKMARK")
