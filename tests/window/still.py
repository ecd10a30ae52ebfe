# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the picture of a state and compare it with its reference, in tests/window/reference.

What depends on the machine and the moment stands still meanwhile: the queue, times, dates, and the small pictures that
Blender loads in a thread of its own. References are of one Blender in one size of window; others are not compared.
`make screenshots` takes them anew.
"""

import dataclasses
import json
import os
import re
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import bpy
import driver
from run import MADE_WITH

MODULE = "bl_ext.user_default.espalier"
HERE = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"])
REFERENCE = HERE / "reference"
SCENARIO = os.environ.get("ESPALIER_WINDOW_SCENARIO", "")
RECORD = bool(os.environ.get("ESPALIER_WINDOW_RECORD"))
TABS = 33
"""Pixels of the sidebar at its right border, at a scale of 1, that show which tabs there are."""
FAR = 100_000
VOLATILE = (
    (r"127\.0\.0\.1:\d+", "127.0.0.1:40000"),
    (r"job_\w+", "job_0000_00000000"),
    (r"\d+ [kM]B", "9 MB"),
    (r"\b\d{4}-\d\d-\d\d\b", "2026-11-23"),
    (r"\b\d\d:\d\d\b", "02:40"),
)
"""What differs from run to run in sentences, and what is shown in its place."""


def module(name):
    return sys.modules[f"{MODULE}.{name}"]


def panel(name, running="", at="top"):
    """Take the screenshot `name` and compare the sidebar in it; `at` is where it is scrolled to: top, bottom or "".

    `running` is a job that is shown as under way, however far it is.
    """
    cutout = module("operators.cutout")
    yield from driver.until(lambda: not cutout.state.waiting, f"nothing is cut out any more: {name}")
    with frozen(running), opaque():
        if at:
            with driver.override(name="UI"):
                bpy.ops.view2d.pan(deltax=0, deltay=FAR if at == "top" else -FAR)
        yield from park()
        module("operators.session").redraw()
        yield from driver.wait(0.2)
        # Blender draws the picture of an image that is not cut out in a thread of its own.
        while bpy.app.is_job_running("RENDER_PREVIEW"):
            yield
        yield from driver.screenshot(name)
        side = driver.region("VIEW_3D", "UI")
        tabs = int(TABS * bpy.context.preferences.system.ui_scale)
        compare(name, (side.x, side.y, side.width - tabs, side.height))


def compare(name, rectangle):
    """Compare a rectangle (left, bottom, width, height) of the screenshot `name` with its reference, or record it."""
    made_with = {"blender": bpy.app.version_string, "window": [driver.window().width, driver.window().height]}
    references = REFERENCE / MADE_WITH
    known = json.loads(references.read_text("utf-8")) if references.is_file() else {}
    if not RECORD and known != made_with:
        driver.note(f"not compared with the references, which are of {known}: this is {made_with}")
        return
    sys.path.append(str(HERE))
    import compare as comparing
    from PIL import Image

    with Image.open(driver.OUT / f"{name}.png") as picture:
        left, bottom, width, height = rectangle
        top = picture.height - bottom - height
        shot = picture.convert("RGB").crop((left, top, left + width, top + height))
    file = f"{SCENARIO}-{name}.png"
    if RECORD:
        comparing.save(shot, driver.OUT / "reference" / file)
        with Image.open(driver.OUT / "reference" / file) as picture:
            driver.judge(not comparing.difference(shot, picture), f"{file} shows what the screenshot shows")
        (driver.OUT / "reference" / MADE_WITH).write_text(json.dumps(made_with) + "\n", "utf-8")
        return
    if not (REFERENCE / file).is_file():
        driver.judge(False, f"there is no reference {file}: make screenshots takes it")
        return
    with Image.open(REFERENCE / file) as picture:
        reference = picture.convert("RGB")
    where = comparing.difference(shot, reference)
    if where:
        comparing.beside(shot, reference).save(driver.OUT / f"{name}-compared.png")
        where = f": {where}; see {name}-compared.png"
    driver.judge(not where, f"{name} looks like its reference{where}")


def park():
    """Take the mouse off the sidebar, where it would light up what is below it."""
    view = driver.region("VIEW_3D", "WINDOW")
    driver.window().event_simulate("MOUSEMOVE", "NOTHING", x=view.x + 150, y=view.y + 60)
    yield


@contextmanager
def frozen(running=""):
    """Let the queue, times and dates stand still."""
    session, queue_list = module("operators.session"), module("operators.queue_list")
    known_jobs, known_job, shown = session.known_jobs, session.known_job, queue_list.shown

    def still(job):
        if job is None or job.id != running:
            return job
        moment = {"fraction": 0.4, "label": "Making the Mesh", "note": "", "remaining_s": 9.0, "cancelling": False}
        return dataclasses.replace(job, state=type(job.state).RUNNING, error=None, **moment)

    with ExitStack() as stack:
        stack.enter_context(paused())
        everywhere(stack, "operators.text", "duration", lambda original: lambda *_: "9 s")
        everywhere(stack, "engine.words", "size_words", lambda original: lambda *_: "9 MB")
        everywhere(stack, "operators.text", "draw_wrapped", steadily)
        for place, name, value in (
            (module("operators.thumbnails"), "icon_of", lambda job: 0),
            (module("panels.provenance"), "_date", lambda text: "2026-01-01 12:00 UTC"),
            (session, "known_jobs", lambda: [still(job) for job in known_jobs()]),
            (session, "known_job", lambda job: still(known_job(job))),
            (queue_list, "shown", lambda: [still(job) for job in shown()]),
        ):
            stack.enter_context(mock.patch.object(place, name, value))
        yield


def everywhere(stack, where, function, instead):
    """Have another function in place of one of the extension, in every module that has imported it."""
    original = getattr(module(where), function)
    for name, each in list(sys.modules.items()):
        if name.startswith(MODULE) and getattr(each, function, None) is original:
            stack.enter_context(mock.patch.object(each, function, instead(original)))


def steadily(draw_wrapped):
    """Return what draws sentences without what differs from run to run."""

    def draw(layout, context, text, *arguments, **options):
        for pattern, words in VOLATILE:
            text = re.sub(pattern, words, text)
        draw_wrapped(layout, context, text, *arguments, **options)

    return draw


@contextmanager
def paused():
    """Let the queue stand still, so that what is submitted meanwhile does not begin."""
    session = module("operators.session")
    with mock.patch.object(session, "watch"):
        ticking = bpy.app.timers.is_registered(session._tick)
        if ticking:
            bpy.app.timers.unregister(session._tick)
        queue = session.session.queue
        known = len(queue.jobs()) if queue is not None else 0
        yield
    queue = session.session.queue
    if ticking or (queue is not None and len(queue.jobs()) > known):
        session.watch()


@contextmanager
def opaque():
    """Let the sidebar hide the viewport below it, which is not compared."""
    space = bpy.context.preferences.themes[0].view_3d.space
    before = tuple(space.button)
    space.button = (*before[:3], 1.0)
    yield
    space.button = before
