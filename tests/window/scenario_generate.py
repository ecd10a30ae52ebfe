# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job as an artist does it: choose an image, press Generate with the mouse, see the object, undo, redo."""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import sidebar
import still

DATA = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parent / "data"


def made():
    """Return the objects that Espalier has placed."""
    return [item for item in bpy.data.objects if item.type == "MESH" and "espalier" in item]


def scenario():
    image = DATA / "rocket.png"
    bpy.context.scene.cursor.location = (0.0, -3.0, 0.0)
    yield from driver.open_sidebar("Espalier")
    yield from still.panel("1-empty")
    bpy.context.scene.espalier.image = bpy.data.images.load(str(image))
    bpy.ops.ed.undo_push(message="Choose the image")
    driver.area().tag_redraw()
    yield from still.panel("2-image")
    before = set(bpy.data.objects.keys())

    header = yield from sidebar.toggle("ESPALIER_PT_sparse_structure")
    yield from driver.move(header[0] + 100, header[1] - 37)
    yield from driver.wait(3)
    yield from driver.screenshot("3-ignored")
    yield from driver.click(*header)

    session = sys.modules["bl_ext.user_default.espalier.operators.session"]
    with still.paused():
        yield from sidebar.press("espalier.generate")
        yield from driver.until(lambda: any(job.active for job in session.known_jobs()), "a click starts a job")
        yield from still.panel("4-running", running=session.known_jobs()[0].id)
    yield from driver.until(lambda: session.known_jobs()[0].fraction > 0.05, "the job makes progress")
    yield from driver.until(made, "the object appears")
    yield from driver.wait(2)
    with driver.override():
        bpy.ops.view3d.view_selected()
    driver.area().spaces.active.shading.color_type = "TEXTURE"
    yield from driver.wait(2)
    yield from still.panel("5-object")

    placed = made()[0]
    driver.check(placed.name == image.stem, "it is named after the image")
    driver.check(placed.select_get() and bpy.context.view_layer.objects.active == placed, "it is selected and active")
    lowest = min((placed.matrix_world @ vertex.co).z for vertex in placed.data.vertices)
    driver.check(abs(lowest - bpy.context.scene.cursor.location.z) < 1e-4, "it stands on its base at the 3D cursor")

    yield from driver.move(*driver.centre(driver.region("VIEW_3D", "WINDOW")))
    yield from driver.key("Z", ctrl=True)
    yield from driver.until(lambda: not made(), "one undo removes it")
    driver.check(before <= set(bpy.data.objects.keys()), "one undo takes nothing else away")
    yield from driver.key("Z", ctrl=True, shift=True)
    yield from driver.until(made, "one redo brings it back")
    yield from driver.wait(3)
    yield from driver.screenshot("6-redone")

    settings = bpy.context.scene.espalier
    driver.check(settings.image is not None, "the chosen image is still there")
    missing = bpy.data.images.new("missing", 8, 8)
    missing.source, missing.filepath_raw = "FILE", "/nowhere/missing.png"
    settings.image = missing
    driver.area().tag_redraw()
    yield from driver.wait(1)
    yield from sidebar.press("espalier.generate")
    yield from driver.until(lambda: session.session.error is not None, "a missing image is told")
    yield from still.panel("7-error")
    driver.check(len(made()) == 1, "a failure leaves the scene as it was")


driver.run(scenario)
