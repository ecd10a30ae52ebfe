# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next asset will take: time, graphics memory, money. Known beforehand, and looked up without waiting."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bpy

from ..engine.errors import EspalierError
from ..engine.parameters import BY_NAME, PIPELINE_OF_RESOLUTION
from ..engine.request import GenerationRequest
from . import account, pricing, session, trellis2
from .languages import msgid, say
from .text import duration, listed

if TYPE_CHECKING:
    from ..engine.backends.trellis2.plans import Plan

LOOK_S = 15.0
"""How often the free graphics memory is looked up while TRELLIS.2 is chosen."""
_MANY = 99
_WORKING_S = 0.2
_FIRST_S = 1.5
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is known beforehand, in a line, and what stands against it, with what would help.

    `longest` is the line as it is while many others come first: what is below it must not move as jobs come and go.
    """

    words: str
    longest: str
    problem: EspalierError | None = None


@dataclass(slots=True)
class Graphics:
    """The first GPU's memory in bytes as it was last looked up; None where no driver of NVIDIA tells."""

    free: int | None = None
    total: int | None = None


graphics = Graphics()
_looking: threading.Thread | None = None
_found: Mapping[str, Any] | None = None


def forecast(settings: bpy.types.PropertyGroup) -> Forecast:
    """Return what the next asset takes with the settings of a scene. Quick, for drawing: it reads memory alone."""
    engine, problem, plan, words = settings.engine, None, None, []
    if engine == trellis2.ENGINE:
        plan, memory, problem = _memory(settings)
        if problem is None:  # which tells it in a sentence
            words.append(memory)
    elif engine == account.ENGINE:
        words.append(_price(settings.resolution))
    words.insert(0, _time(settings, plan))
    if engine == account.ENGINE:
        line = listed(words)
        return Forecast(line, line, problem)
    ahead = _ahead(engine)
    told = [*words, _others(ahead)] if ahead else words
    return Forecast(listed(told), listed([*words, _others(max(ahead, _MANY))]), problem)


def _others(count: int) -> str:
    return say("after 1 other") if count == 1 else say("after {count} others", count=count)


def _time(settings: bpy.types.PropertyGroup, plan: Plan | None) -> str:
    """Return how long it takes: as long as such jobs took here, else as long as is known of others."""
    queue, engine = session.session.queue, settings.engine
    if queue is not None:
        from ..engine.jobs.history import MATTER
        from .settings import plain_value  # which looks at engines through this module

        values = {name: plain_value(settings, BY_NAME[name]) for name in MATTER}
        took = queue.took(GenerationRequest("", engine, "", values))
        if took is not None:
            about = _rounded(took.seconds)
            return say("About {time}", time=about) if took.alike else say("Roughly {time}", time=about)
    known, where = _known_s(engine, settings.resolution, plan)
    if known is None:
        return say("Time not known yet")
    return say("About {time} on {machine}", time=_rounded(known), machine=say(where))


def _rounded(seconds: float) -> str:
    """Return a time no more exactly than it is known."""
    step = 1 if seconds < 20 else 5 if seconds < 120 else 60
    return duration(step * round(seconds / step))


def _known_s(engine: str, resolution: str, plan: Plan | None) -> tuple[float | None, str]:
    """Return the seconds that others took, and on what."""
    if engine in (trellis2.ENGINE, account.ENGINE):
        from ..engine.backends.trellis2.needs import published_s
        from ..engine.backends.trellis2.plans import PLANS

        return published_s(PIPELINE_OF_RESOLUTION[resolution], plan or PLANS[0]), msgid("an H100")
    from ..engine.jobs.estimate import DRAFT_S

    return DRAFT_S.get(resolution), msgid("two cores")


def _price(resolution: str) -> str:
    price = pricing.price(account.ENGINE, resolution)
    if price is None:
        return say("price not told by the server")
    shown = pricing.dollars(price)
    return shown if resolution in pricing.offer().told else say("{price} (list price)", price=shown)


def _ahead(engine: str) -> int:
    """Return how many jobs of an engine of this machine, which makes one at a time, come first."""
    return sum(job.active and job.request.engine == engine for job in session.known_jobs())


def _memory(settings: bpy.types.PropertyGroup) -> tuple[Plan, str, EspalierError | None]:
    """Return the memory plan that would be taken, what it wants, and what is to be told where that is not free."""
    from ..engine.backends.trellis2.needs import GIB, Published, choose, need_gib
    from ..engine.backends.trellis2.plans import PLANS
    from ..engine.backends.trellis2.settings import PLAN

    preferred = account.preferences().memory_plan
    wanted = os.environ.get(PLAN, "") or ("" if preferred == trellis2.AUTOMATIC else preferred)
    pipeline = PIPELINE_OF_RESOLUTION[settings.resolution]
    weights, free, total = Published(), graphics.free, graphics.total
    plan = choose(free or 0, weights, pipeline, wanted)[0]
    need = need_gib(plan, weights, pipeline)
    if free is None or total is None:
        size = f"{need:.0f}"
        if wanted:
            return plan, say("{need} GB of graphics memory", need=size), None
        return plan, say("at least {need} GB of graphics memory", need=size), None
    if need * GIB <= free:
        return plan, say("{need} of {free} GB free", need=f"{need:.0f}", free=f"{free / GIB:.0f}"), None

    def fits(other: str, room: int) -> bool:
        return need_gib(PLANS[-1], weights, PIPELINE_OF_RESOLUTION[other]) * GIB <= room

    figures: dict[str, object] = {"need": f"{need:.0f}", "free": f"{free / GIB:.0f}"}
    smaller = [other for other in PIPELINE_OF_RESOLUTION if int(other) < int(settings.resolution) and fits(other, free)]
    if wanted and fits(settings.resolution, free):
        problem = EspalierError("memory_short_plan", **figures)
    elif smaller:
        problem = EspalierError("memory_short_smaller", **figures, resolution=smaller[-1])
    elif fits(settings.resolution, total):
        problem = EspalierError("memory_short_others", **figures)
    else:
        problem = EspalierError("memory_short", **figures)
    return plan, "", problem


def watch() -> None:
    """Look up the free graphics memory now, and again from time to time for as long as TRELLIS.2 is chosen."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=0.0, persistent=True)


def look() -> threading.Thread | None:
    """Begin to look up the free graphics memory, in a thread: NVIDIA's program takes some tenths of a second.

    Not while a worker of TRELLIS.2 lives, which gives what it holds to the next job. Returns the thread.
    """
    global _looking
    if _looking is None and not (session.session.queue is not None and session.session.queue.holds(trellis2.ENGINE)):
        _looking = threading.Thread(target=_ask, name="graphics memory", daemon=True)
        _looking.start()
    return _looking


def _ask() -> None:
    global _found
    from ..engine.backends.trellis2.doctor import driver

    try:
        _found = driver() or {}
    except Exception as error:  # whatever that program does: then nobody knows, and nothing is told
        _found = {"error": repr(error)}


def take() -> bool:
    """Take what the thread has found, if it is done; tell whether that is news."""
    global _looking, _found
    if _looking is None or _looking.is_alive():
        return False
    found, before = _found or {}, (graphics.free, graphics.total)
    _looking = _found = None
    told = {name: found[f"{name}_mb"] * _MIB if f"{name}_mb" in found else None for name in ("free", "total")}
    graphics.free, graphics.total = told["free"], told["total"]
    return before != (graphics.free, graphics.total)


def _tick() -> float | None:
    if _looking is not None:
        if take():
            session.redraw()
        return _WORKING_S if _looking is not None else LOOK_S
    if not any(scene.espalier.engine == trellis2.ENGINE for scene in bpy.data.scenes):
        return None
    return _WORKING_S if look() is not None else LOOK_S


@bpy.app.handlers.persistent
def _file_opened(*_args: object) -> None:
    watch()


def register() -> None:
    """Look up the free graphics memory once Blender has started, and whenever a file is opened that may need it."""
    bpy.app.handlers.load_post.append(_file_opened)
    if not bpy.app.background:
        bpy.app.timers.register(_tick, first_interval=_FIRST_S, persistent=True)


def unregister() -> None:
    """Stop looking, and forget what was found."""
    global graphics, _looking, _found
    bpy.app.handlers.load_post.remove(_file_opened)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    graphics, _looking, _found = Graphics(), None, None
