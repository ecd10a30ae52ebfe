# SPDX-License-Identifier: GPL-3.0-or-later
"""Where assets go: on the surface that a click points at, in place of an object, in local view; and variations: a row
of previews, of which one is kept and the rest discarded, and two undo steps.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import sidebar
import still
from bpy_extras import view3d_utils
from mathutils import Vector
from service import Server

ROOT = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parents[1]
MODULE = "bl_ext.user_default.espalier"


def module(name):
    return sys.modules[f"{MODULE}.{name}"]


def made():
    """Return the objects that Espalier has placed, and the previews."""
    return [item for item in bpy.data.objects if item.type == "MESH" and "espalier" in item]


def previews():
    row = module("operators.scene.row")
    return [item for line in row.rows(bpy.context.scene) for item in row.previews(line)]


def pixel(point):
    """Return where a point of world space is in the window."""
    area = driver.area()
    region = driver.region("VIEW_3D", "WINDOW")
    at = view3d_utils.location_3d_to_region_2d(region, area.spaces.active.region_3d, Vector(point))
    return region.x + at.x, region.y + at.y


def under(point):
    """Return what the viewport shows where it shows a point, or what hides it."""
    area, region = driver.area(), driver.region("VIEW_3D", "WINDOW")
    x, y = pixel(point)
    with driver.override():
        surface_at = module("operators.viewing").surface_at
        return surface_at(bpy.context, area.spaces.active, region, (x - region.x, y - region.y))[0]


def box(target):
    points = [target.matrix_world @ vertex.co for vertex in target.data.vertices]
    return [(min(p[axis] for p in points), max(p[axis] for p in points)) for axis in range(3)]


def shown(name, seconds=1.0):
    module("operators.session").redraw()
    yield from driver.wait(seconds)
    yield from driver.screenshot(name)


def undo_all(count):
    yield from driver.move(*driver.centre(driver.region("VIEW_3D", "WINDOW")))
    for _ in range(count):
        yield from driver.key("Z", ctrl=True)
        yield from driver.wait(0.5)


def scenario():
    yield from driver.open_sidebar("Espalier")
    chosen = module("operators.placement_settings").chosen()
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.load(str(ROOT / "tests" / "data" / "rocket.png"))
    settings.resolution, settings.texture_size = "512", "1024"
    driver.area().spaces.active.shading.color_type = "TEXTURE"
    bpy.ops.ed.undo_push(message="Choose the image")
    driver.area().tag_redraw()
    yield from driver.wait(1)
    yield from sidebar.toggle("ESPALIER_PT_placement")
    yield from still.panel("1-placement", at="bottom")
    chosen.where = "SURFACE"
    chosen.use_height, chosen.height = True, 3.0
    yield from still.panel("2-under-the-mouse", at="bottom")
    x, y = yield from sidebar.find("espalier.generate")

    known = len(module("operators.session").known_jobs())  # those of the scenarios before
    top = pixel((0.3, 0.3, 1.0))
    yield from driver.click(x, y)
    yield from driver.wait(0.5)
    yield from driver.screenshot("3-pick")
    driver.check(len(module("operators.session").known_jobs()) == known, "nothing is made before the click")
    yield from driver.key("ESC")
    yield from driver.wait(0.5)
    driver.check(not bpy.context.window.modal_operators, "Esc ends it")
    yield from driver.click(x, y)
    yield from driver.scroll(*top, 1, down=False)
    yield from driver.wait(0.5)
    driver.check(len(driver.window().modal_operators) == 1, "one can go on navigating meanwhile")
    yield from driver.click(*pixel((0.3, 0.3, 1.0)))
    yield from driver.until(made, "the object appears")
    yield from shown("4-on-the-cube", 2)
    low, high = box(made()[0])[2]
    driver.check(abs(low - 1.0) < 1e-3 and abs(high - low - 3.0) < 1e-3, "it stands on the cube, three units high")
    driver.check((Vector(made()[0].location) - Vector((0.3, 0.3, 1.0))).length < 0.1, "where the click was")
    yield from undo_all(1)
    yield from driver.until(lambda: not made(), "one undo removes it")

    chosen.where = "OBJECT"
    cube = bpy.data.objects["Cube"]
    cube.rotation_euler.z, cube.scale = 0.5, (1.0, 1.0, 2.0)
    bpy.context.view_layer.objects.active = cube
    cube.select_set(True)
    bpy.ops.ed.undo_push(message="Turn the cube")
    yield from still.panel("5-in-place", at="bottom")
    roof = cube.copy()
    toward = driver.area().spaces.active.region_3d.view_rotation @ Vector((0.0, 0.0, 4.0))
    roof.name, roof.location = "Roof", Vector((0.0, 0.0, 2.0)) + toward
    bpy.context.collection.objects.link(roof)
    roof.select_set(False)
    bpy.ops.ed.undo_push(message="Add a roof")
    yield from driver.wait(0.5)
    driver.check(abs(under((0.0, 0.0, 2.0)).z - 2.0) > 0.1, "the roof hides the top of the cube")
    with driver.override():
        bpy.ops.view3d.localview()
    yield from driver.wait(1)
    driver.check(abs(under((0.0, 0.0, 2.0)).z - 2.0) < 1e-3, "what is not in the local view is looked through")
    yield from sidebar.press("espalier.generate")
    yield from driver.until(made, "another object appears")
    yield from shown("6-local-view", 2)
    placed = made()[0]
    space = driver.area().spaces.active
    graph = bpy.context.evaluated_depsgraph_get()
    driver.check(placed.evaluated_get(graph).visible_in_viewport_get(space), "it is seen in the local view")
    driver.check(bpy.data.objects["Cube"].hide_get(), "the cube is hidden")
    with driver.override():
        bpy.ops.view3d.localview()
    driver.check(abs(placed.rotation_euler.z - 0.5) < 1e-4, "it is turned like the cube")
    yield from undo_all(1)
    yield from driver.until(lambda: not made(), "one undo removes it, too")
    driver.check(not bpy.data.objects["Cube"].hide_get(), "and shows the cube again")

    chosen.where, chosen.use_height = "WORLD", False
    for name in ("Cube", "Roof"):
        bpy.data.objects.remove(bpy.data.objects[name])
    yield from sidebar.toggle("ESPALIER_PT_placement")
    yield from sidebar.toggle("ESPALIER_PT_variations")
    yield from still.panel("7-draft-has-none", at="bottom")
    server = Server("--job-seconds", "4", "--rate", "500")
    yield from driver.until(lambda: server.key, "the server serves")
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.base_url, preferences.api_key, preferences.ask_above_usd = server.url, server.key, 0.05
    settings = bpy.context.scene.espalier
    settings.engine = "remote"
    yield from driver.until(lambda: module("operators.pricing").offer().told, "the server tells its prices")
    yield from still.panel("8-price-of-all", at="bottom")
    yield from sidebar.press("espalier.generate_variations")
    yield from driver.wait(1)
    yield from driver.screenshot("9-asked-once")
    driver.check(not module("operators.session").known_jobs()[0].active, "nothing is sent before the person agrees")
    yield from driver.key("RET")
    yield from driver.until(lambda: len(previews()) == 4, "four previews come")
    with driver.override():
        bpy.ops.view3d.view_all()
    yield from still.panel("10-row", at="bottom")

    yield from sidebar.press("espalier.keep_variation")
    yield from driver.until(lambda: len(previews()) == 3, "Keep takes the first out of the row")
    yield from sidebar.press("espalier.discard_row")
    yield from driver.until(lambda: not previews(), "Discard the Rest empties it")
    with driver.override():
        bpy.ops.view3d.view_all()
    yield from still.panel("11-kept", at="bottom")
    (kept,) = made()
    driver.check(kept.name == "rocket" and tuple(kept.scale) == (1, 1, 1), "the kept one has its size and its name")
    yield from undo_all(1)
    yield from driver.until(lambda: len(previews()) == 3, "one undo brings the rest back")
    yield from undo_all(1)
    yield from driver.until(lambda: len(previews()) == 4, "another one the row as it was")
    yield from shown("12-undone")
    server.end()


def cleanly():
    """Run the scenario, and leave no choice of its own to the scenarios after it: Blender remembers them."""
    try:
        yield from scenario()
    finally:
        bpy.context.preferences.addons[MODULE].preferences.property_unset("placement")


driver.run(cleanly)
