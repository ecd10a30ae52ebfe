# SPDX-License-Identifier: GPL-3.0-or-later
"""How the environments are shown, in the sidebar and in the preferences alike. It draws what is in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import bpy

from ..engine.errors import EspalierError
from ..engine.words import size_words
from . import environments, languages
from .environments import KINDS, STOPPED, Kind
from .languages import msgid, say, told
from .text import draw_wrapped, duration

if TYPE_CHECKING:
    from ..engine.environments.status import Status
    from ..engine.environments.task import Task

DOWNLOAD_BYTES_PER_S = 6e6
"""What is counted on when a time is told: about 50 Mbit/s."""
INSTALL_BYTES_PER_S = 50e6
BUTTONS = {
    "ready": ("verify", "repair", "remove"),
    "installable": ("install",),
    "broken": ("repair", "remove"),
    "impossible": (),
}
"""Condition -> what can be done then."""
WORDS = {
    "ready": (msgid("Ready"), "CHECKMARK"),
    "installable": (msgid("Not Installed"), "IMPORT"),
    "broken": (msgid("Broken"), "ERROR"),
    "impossible": (msgid("Not Possible Here"), "CANCEL"),
}
"""Condition -> how it is called, and its icon."""


def condition_words(status: Status) -> tuple[str, str]:
    """Return how the condition of an environment is called, in English, and its icon."""
    if status.why is not None and status.why.code == "weights_no_environment":
        return msgid("Not Needed Yet"), "INFO"
    return WORDS[status.condition]


def expected(status: Status) -> str:
    """Return what installing takes, in a sentence."""
    seconds = status.download_bytes / DOWNLOAD_BYTES_PER_S + status.disk_bytes / INSTALL_BYTES_PER_S
    disk, time = size_words(status.disk_bytes), duration(_roughly(seconds))
    if not status.download_bytes:
        return say("Nothing to download, {disk} on the disk, about {time}.", disk=disk, time=time)
    load = size_words(status.download_bytes)
    return say("{size} to download, {disk} on the disk, about {time}.", size=load, disk=disk, time=time)


def _roughly(seconds: float) -> float:
    """Return a guessed time no more exactly than it is known."""
    step = 10.0 if seconds < 60.0 else 60.0
    return max(round(seconds / step) * step, step)


def sentences(status: Status) -> list[str]:
    """Return what there is to say of an environment beside its condition."""
    lines = list(languages.sentences(status.why)) if status.why is not None else []
    if status.condition == "installable":
        lines.append(expected(status))
    if status.condition in ("installable", "broken") and status.unlocked:
        lines.append(say("Not locked yet: {names}.", names=", ".join(status.unlocked)))
        lines.append(say("Allow them in the preferences, or wait for a version that locks them."))
    return lines


def progress_text(task: Task) -> str:
    """Return the stage, and how much of it is done where that is counted in bytes."""
    if not task.total_bytes:
        return told(task.stage) if task.stage else say("Starting")
    done, total = size_words(task.done_bytes), size_words(task.total_bytes)
    return say("{stage}, {done} of {total}", stage=told(task.stage), done=done, total=total)


def draw_environments(layout: bpy.types.UILayout, context: bpy.types.Context, width: float = 0.0) -> None:
    """Draw each environment with what can be done; sentences fit into the region, or into `width` as `draw_wrapped`."""

    def write(column: bpy.types.UILayout, text: str) -> None:
        draw_wrapped(column, context, text, width)

    for kind in KINDS:
        _draw_one(layout.box(), kind, write)


def _draw_one(box: bpy.types.UILayout, kind: Kind, write: Callable[[bpy.types.UILayout, str], None]) -> None:
    state = environments.state
    status = environments.known(kind.profile)
    word, icon = condition_words(status) if status is not None else (msgid("Not Looked At Yet"), "QUESTION")
    at_work = state.working and state.profile == kind.profile
    row = box.row()
    row.label(text=say(kind.label), icon="SORTTIME" if at_work else icon)
    column = box.column(align=True)
    row = column.row()
    row.alert = not at_work and word == "Broken"
    row.label(text=say(ACTS[state.act] if at_work else word))
    write(column, say("{purpose}.", purpose=say(kind.purpose)))
    if at_work:
        draw_task(box, state.task)
        return
    for sentence in (*sentences(status), *_notices(kind)) if status is not None else ():
        write(column, sentence)
    why = status.why if status is not None else None
    if state.profile == kind.profile and (why is None or str(why) != str(state.error)):
        _draw_end(box, state.error, state.told, write)
    row = box.row(align=True)
    row.enabled = not state.working
    for act in BUTTONS[status.condition] if status is not None else ():
        row.operator(f"espalier.{act}_environment").profile = kind.profile


def _notices(kind: Kind) -> tuple[str, ...]:
    """Return what has to be shown of the models that the engine of an environment runs."""
    from ..engine.environments import licences

    return licences.notices(kind.profile)


ACTS = {
    "install": msgid("Installing"),
    "repair": msgid("Repairing"),
    "verify": msgid("Verifying"),
    "remove": msgid("Removing"),
}
"""Task -> how it is called while it is under way."""


def draw_task(box: bpy.types.UILayout, task: Task) -> None:
    """Draw how far a task is, with the button that stops it."""
    row = box.row(align=True)
    row.progress(factor=task.fraction, text=progress_text(task))
    row.operator("espalier.cancel_environment", text="", icon="X")


def _draw_end(
    box: bpy.types.UILayout,
    error: EspalierError | None,
    words: tuple[str, ...],
    write: Callable[[bpy.types.UILayout, str], None],
) -> None:
    """Draw how the last task on this environment ended."""
    if error is None and not words:
        return
    row = box.row()
    row.alert = error is not None
    if error is not None:
        row.label(text="Not Done", icon="ERROR")
    else:
        row.label(text="Stopped" if words == (STOPPED,) else "Done", icon="INFO")
    row.operator("espalier.dismiss_environment", text="", icon="X", emboss=False)
    column = box.column(align=True)
    for sentence in languages.sentences(error) if error is not None else map(told, words):
        write(column, sentence)
