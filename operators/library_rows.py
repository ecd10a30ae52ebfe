# SPDX-License-Identifier: GPL-3.0-or-later
"""The library as the preferences show it: whether it is in the Asset Browser, what it takes, and what may go."""

from __future__ import annotations

import bpy

from ..engine.words import size_words
from . import library, library_use
from .languages import say, sentences, told
from .text import VALUES, draw_note, draw_wrapped


def draw_library(column: bpy.types.UILayout, context: bpy.types.Context, chosen: bpy.types.AddonPreferences) -> None:
    """Draw what is in memory; the disk is looked at by Measure, in a thread."""
    column.label(text="Library")
    column.prop(chosen, "asset_library")
    helper = library.shelf.helper
    if helper is not None:
        draw_note(
            column,
            say("{count} results are on their way into the Asset Browser", count=f"{len(helper.results):,}"),
            "SORTTIME",
        )
    problem = library.shelf.problem or library_use.state.error
    if problem is not None:
        row = column.row()
        row.alert = True
        lines = row.column(align=True)
        for words in sentences(problem):
            draw_wrapped(lines, context, words)
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
        row.label(text=_measured(usage), translate=False)
    row.operator("espalier.measure_library")
    row.operator("espalier.clean_library", icon="TRASH")
    if usage is not None and not state.working:
        draw_note(column, _going(usage), "INFO")
    if state.told:
        draw_note(column, told(state.told), "CHECKMARK")


def _measured(usage: library_use.Usage | None) -> str:
    if usage is None:
        return say("Not measured yet")
    return say("{count} results, {size}", count=f"{usage.count:,}", size=size_words(usage.size))


def _going(usage: library_use.Usage) -> str:
    if not usage.surplus:
        return say("Nothing would go")
    return say("{count} would go, {size}", count=f"{usage.surplus:,}", size=size_words(usage.surplus_size))
