# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuilding as an artist does it: a finished asset, Mesh Export in the sidebar, Rebuild Mesh, undo, and levels."""

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


def faces():
    return [len(item.data.polygons) for item in made()]


def scenario():
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    yield from driver.open_sidebar("Espalier")
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.load(str(DATA / "mushroom.webp"))
    settings.resolution, settings.texture_size = "512", "1024"
    settings.remesh, settings.lods = True, ""
    driver.area().tag_redraw()
    yield from driver.wait(1)
    yield from sidebar.press("espalier.generate")
    yield from driver.until(made, "the asset appears")
    yield from driver.wait(2)
    yield from sidebar.toggle("ESPALIER_PT_mesh")
    yield from still.panel("1-settings", at="bottom")
    before = faces()[0]

    bpy.context.scene.espalier.decimation_target = 10000
    place = yield from sidebar.find("espalier.rebuild")
    yield from driver.screenshot("2-button")
    yield from driver.click(*place)
    yield from driver.until(lambda: bpy.context.scene and faces()[0] != before, "the mesh is exchanged")
    yield from driver.wait(2)
    with driver.override():
        bpy.ops.view3d.view_selected()
    driver.area().spaces.active.shading.type = "MATERIAL"
    yield from driver.wait(4)
    yield from still.panel("3-rebuilt", at="bottom")
    driver.area().spaces.active.shading.type = "SOLID"
    driver.check(len(made()) == 1 and faces()[0] <= 10100, "one object, with about as many faces as asked for")
    yield from sidebar.press("espalier.revert")
    yield from driver.until(lambda: faces() == [before], "Revert brings the old mesh back")
    yield from driver.screenshot("4-reverted")
    yield from driver.move(*driver.centre(driver.region("VIEW_3D", "WINDOW")))
    yield from driver.key("Z", ctrl=True)
    yield from driver.until(lambda: faces() != [before], "one undo takes that back")

    yield from driver.move(*driver.centre(driver.region("VIEW_3D", "WINDOW")))
    yield from driver.key("Z", ctrl=True)
    yield from driver.until(lambda: faces() == [before], "one undo brings the old mesh back")
    yield from driver.key("Z", ctrl=True, shift=True)
    yield from driver.until(lambda: faces() != [before], "one redo brings the new mesh back")

    bpy.context.scene.espalier.lods = "8000, 2000, 400"
    driver.area().tag_redraw()
    yield from driver.wait(1)
    yield from sidebar.press("espalier.rebuild")
    yield from driver.until(lambda: len(made()) == 4, "three levels appear")
    yield from driver.wait(2)
    yield from still.panel("5-levels", at="bottom")
    driver.check(sorted(faces())[:3] == [400, 2000, 8000], "each level has its number of faces")


driver.run(scenario)
