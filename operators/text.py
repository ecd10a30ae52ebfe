# SPDX-License-Identifier: GPL-3.0-or-later
"""Words for people: sentences that fit into a region, where Blender's labels do not wrap; errors, and times.

What is drawn here has been translated already (see `languages`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import reduce

import blf
import bpy

from ..engine.errors import EspalierError
from .languages import say, sentences

FONT = 0
MARGIN = 5.0
"""What a box and the region's borders take from the width, in widget heights."""
VALUES = 0.4
"""Where the values begin beside the labels of split properties, as a share of the width."""
NARROWEST = 8
"""Columns that a line has at least."""
NEVER_FIRST = "、。，．,.；;：:！!？?）)」』】〕〉》ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ％%"  # noqa: RUF001
"""What does not stand at the beginning of a line of Chinese or Japanese."""
NEVER_LAST = "（(「『【〔〈《"  # noqa: RUF001


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
        row.label(text=line, translate=False)


def _wrapped(context: bpy.types.Context, text: str, width: float) -> list[str]:
    style = context.preferences.ui_styles[0].widget
    scale = context.preferences.system.ui_scale
    blf.size(FONT, style.points * scale)
    average = blf.dimensions(FONT, text)[0] / max(columns(text), 1)
    whole = width * scale if width else context.region.width
    usable = max(whole - MARGIN * 20.0 * scale, 40.0 * scale)
    return wrap(text, max(int(usable / max(average, 1.0)), NARROWEST))


def draw_error(
    layout: bpy.types.UILayout, context: bpy.types.Context, error: EspalierError, width: float = 0.0
) -> None:
    """Draw the cause of `error`, and below it what helps."""
    cause, remedy = sentences(error)
    draw_wrapped(layout, context, cause, width)
    layout.separator()
    draw_wrapped(layout, context, remedy, width)


def draw_note(column: bpy.types.UILayout, text: str, icon: str) -> None:
    """Draw a line below the values of split properties, in red with the icon `ERROR`."""
    split = column.split(factor=VALUES)
    split.label()
    row = split.row()
    row.alert = icon == "ERROR"
    row.label(text=text, icon=icon, translate=False)


def columns(text: str) -> int:
    """Return how wide `text` is in columns, of which a character of Chinese or Japanese takes two."""
    return sum(1 + _is_wide(letter) for letter in text)


def wrap(text: str, width: int) -> list[str]:
    """Return `text` in lines of at most `width` columns, broken at spaces, or between characters that need none.

    A word that is longer than a line is broken wherever the line ends.
    """
    lines, line = [], ""
    for piece in _pieces(text):
        if line and columns(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        while columns(piece.rstrip()) > width:
            cut = next(end for end in range(len(piece), 0, -1) if columns(piece[:end]) <= width)
            lines.append(piece[:cut])
            piece = piece[cut:]
        line += piece
    return [*lines, line.rstrip()] if line.strip() else lines


def _pieces(text: str) -> list[str]:
    """Return `text` in pieces between which a line may end: words with what follows them, and wide characters."""
    pieces: list[str] = []
    for letter in " ".join(text.split()):
        wide = _is_wide(letter)
        before = pieces[-1] if pieces else " "
        joined = letter == " " or letter in NEVER_FIRST or before[-1] in NEVER_LAST
        if pieces and (joined or not (wide or _is_wide(before[-1]) or before[-1] == " ")):
            pieces[-1] += letter
        else:
            pieces.append(letter)
    return pieces


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def listed(parts: Sequence[str]) -> str:
    """Return `parts`, of which there is one at least, as one text with commas."""
    return reduce(lambda first, second: say("{first}, {second}", first=first, second=second), parts)


def duration(seconds: float) -> str:
    """Return a time a person can take in at a glance: 8 s, 2 min 5 s, 1 h 10 min."""
    whole = max(round(seconds), 1)
    if whole < 60:
        return say("{seconds} s", seconds=whole)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        if rest:
            return say("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
        return say("{minutes} min", minutes=minutes)
    hours, minutes = divmod(minutes, 60)
    return say("{hours} h {minutes} min", hours=hours, minutes=minutes)
