# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue as an artist meets it: one job, many, a failed one, one for another file, a done one."""

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import sidebar
import still

DATA = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parent / "data"
MODULE = "bl_ext.user_default.espalier"
PICTURES = ("rocket.png", "mug.png", "ball.png", "duck.jpg", "mushroom.webp")
MANY = 12
BAR_MS = 1.0
STATUS = (260, 18)
"""Width and height, in pixels, of the part of the status bar in which the line stands."""


def module(name):
    return sys.modules[f"{MODULE}.operators.{name}"]


def queue():
    return module("session").session.queue


def jobs():
    return module("queue_list").shown()


def states():
    return [str(job.state) for job in jobs()]


def shown(name):
    module("session").redraw()
    yield from driver.wait(1.0)
    yield from driver.screenshot(name)


def generate(name, **settings):
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(DATA / name), texture_size="1024", **settings)


def select(job):
    """Choose the row of a job."""
    rows = bpy.context.window_manager.espalier_queue
    rows.active = next(number for number, item in enumerate(rows.items) if item.job == job)


def settled():
    yield from driver.until(lambda: not queue().busy, "all jobs have come to an end")


def drawing_ms(count):
    """Return how long the panel takes to draw itself in the middle of `count` measurements, as it stands now."""
    panel = sys.modules[f"{MODULE}.panels.jobs"].ESPALIER_PT_jobs
    times, draw = [], panel.draw

    def timed(self, context):
        began = time.perf_counter()
        panel.poll(context)
        draw(self, context)
        times.append(time.perf_counter() - began)

    panel.draw = timed
    while len(times) < count:
        driver.area().tag_redraw()
        yield
    panel.draw = draw
    return 1000 * sorted(times)[len(times) // 2]


def scenario():
    session = module("session")
    module("status_bar").SHOWN_S = 15.0  # for the screenshot, on a machine that draws slowly
    status_bar = module("status_bar")
    settings = bpy.context.scene.espalier
    folder = Path(tempfile.mkdtemp(prefix="queue "))
    with driver.override():
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / "street.blend"))
    yield from driver.open_sidebar("Espalier")
    session.session.open_queue()
    if module("queue_list").clearable():  # failures of the scenarios before
        bpy.ops.espalier.clear("EXEC_DEFAULT")
    settings.image = bpy.data.images.load(str(DATA / "mug.png"))
    yield from still.panel("1-before")

    with still.paused():
        generate("rocket.png")
        yield from still.panel("2-one", running=jobs()[0].id)
    yield from driver.until(lambda: jobs() and jobs()[0].fraction > 0.1, "one job is under way")
    yield from driver.until(lambda: status_bar.words(), "the status bar tells that it is finished")
    driver.check("rocket" in status_bar.words(), "it says which")
    yield from shown("3-finished")
    still.compare("3-finished", (driver.window().width - STATUS[0], 0, *STATUS))
    driver.check(states() == ["imported"], "it is done")
    yield from driver.until(lambda: not status_bar.words(), "the status bar does not tell it for ever", 40)
    yield from still.panel("4-quiet")

    with still.paused():
        generate("rocket.png")
        bpy.ops.espalier.generate("EXEC_DEFAULT", filepath="/nowhere/missing.png")
        for number in range(MANY - 2):
            generate(PICTURES[number % len(PICTURES)])
        waiting = [job for job in jobs() if job.state == "queued"]
        select(waiting[-1].id)
        for _ in range(3):
            bpy.ops.espalier.move_up("EXEC_DEFAULT", job=waiting[-1].id)
        yield from still.panel("5-many", running=waiting[0].id)
    yield from driver.until(lambda: any(job.fraction > 0.1 for job in jobs() if job.active), "the first is under way")
    order = [job.id for job in jobs() if job.state == "queued"]
    driver.check(order.index(waiting[-1].id) == len(order) - 4, "the last one has passed three others")
    milliseconds = yield from drawing_ms(20)
    driver.check(milliseconds < BAR_MS, f"the panel draws itself in {milliseconds:.2f} ms with {len(jobs())} jobs")
    yield from driver.until(lambda: "failed" in states(), "a missing image fails")
    select(next(job.id for job in jobs() if job.state == "failed"))
    yield from shown("6-failed")
    yield from settled()
    yield from still.panel("7-all-done")
    for _ in range(200):
        queue().submit(jobs()[0].request, {"file": "another"})
    session.redraw()
    milliseconds = yield from drawing_ms(20)
    driver.check(milliseconds < BAR_MS, f"the panel draws itself in {milliseconds:.2f} ms with {len(jobs())} jobs")
    yield from shown("8-two-hundred")
    for job in [job for job in jobs() if job.active]:
        queue().cancel(job.id)
    yield from settled()
    session.redraw()
    yield from driver.wait(1.0)
    bpy.ops.espalier.clear("EXEC_DEFAULT")
    yield from driver.wait(1.0)
    driver.check(not jobs(), "what is done can be cleared")
    driver.check(not bpy.context.window_manager.espalier_queue.items, "the list is empty")

    generate("mug.png")
    with driver.override():
        bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile("EXEC_DEFAULT")
    yield from driver.wait(1.0)
    yield from driver.open_sidebar("Espalier")
    yield from driver.until(lambda: states() == ["ready"], "it is finished while another file is open")
    driver.check("street.blend" in status_bar.words(), "the status bar says to which file it belongs")
    yield from still.panel("9-other-file")
    yield from sidebar.press("espalier.open_file")
    yield from driver.until(lambda: bpy.data.filepath.endswith("street.blend"), "a click opens that file")
    yield from driver.until(lambda: states() == ["imported"], "where it is placed by itself")
    yield from driver.open_sidebar("Espalier")
    yield from shown("10-placed")


driver.run(scenario)
