# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's pictures: an image in, its object, what five images become, the queue, and the Asset Browser.

All are of the draft engine, which needs no graphics card, and of the images in tests/data. `make screenshots` takes
them.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import compare
import driver
import sidebar
import still
from mathutils import Quaternion
from PIL import Image
from still import module

DATA = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parent / "data"
FIRST = "rocket.png"
OTHERS = ("mug.png", "ball.png", "duck.jpg", "mushroom.webp")
TILE = 240
GAP = 12
VIEW = (0.80, 0.56, 0.12, 0.17)
"""How the viewport looks at the object: nearly from the front, from a little above."""
WIDTH = 900
"""Pixels of the viewport, with the sidebar, that the first picture shows."""


def made():
    """Return the objects that Espalier has placed."""
    return [item for item in bpy.data.objects if item.type == "MESH" and "espalier" in item]


def keep(name, rectangle):
    """Cut a rectangle (left, bottom, width, height) out of the screenshot `name` and keep it for the README."""
    left, bottom, width, height = rectangle
    with Image.open(driver.OUT / f"{name}.png") as picture:
        top = picture.height - bottom - height
        compare.save(picture.crop((left, top, left + width, top + height)), target(name))


def target(name):
    return driver.OUT / "reference" / f"readme-{name}.png"


def look(everything=False):
    """Turn the viewport to what is selected, or to everything, and show its textures."""
    space = driver.area().spaces.active
    space.region_3d.view_rotation = Quaternion(VIEW)
    space.shading.type = "MATERIAL"
    space.overlay.show_extras = False
    with driver.override():
        (bpy.ops.view3d.view_all if everything else bpy.ops.view3d.view_selected)()


def scenario():
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    yield from driver.open_sidebar("Espalier")
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.load(str(DATA / FIRST))
    cutout = module("operators.cutout")
    yield from driver.until(lambda: not cutout.state.waiting, "the image is cut out")
    yield from sidebar.press("espalier.generate")
    yield from driver.until(made, "the object appears")
    look()
    yield from still.park()
    yield from driver.wait(6)
    yield from driver.screenshot("first")
    area, side = driver.area(), driver.region("VIEW_3D", "UI")
    keep("first", (area.x + area.width - WIDTH, area.y, WIDTH, area.height))

    driver.area().spaces.active.shading.type = "SOLID"
    files = [{"name": name} for name in OTHERS]
    bpy.context.scene.cursor.location = (1.2, 0.0, 0.0)
    with driver.override():
        bpy.ops.espalier.drop_images("INVOKE_DEFAULT", directory=str(DATA), files=files, location=(1.2, 0.0, 0.0))
    jobs = module("operators.queue_list").shown
    yield from driver.until(lambda: any(job.fraction > 0.2 for job in jobs() if job.active), "the first is under way")
    with still.paused():
        yield from driver.wait(1.5)  # the small pictures are loaded
        yield from driver.screenshot("queue")
    keep("queue", (side.x, side.y, side.width, side.height))
    yield from driver.until(lambda: len(made()) == len(OTHERS) + 1, "the others appear")

    yield from rendered()
    yield from browsed()


def rendered():
    """Render all objects, and show each below its image."""
    from bl_ext.user_default.espalier.operators.scene.preview import render_preview  # loaded only where it is wanted

    pairs = []
    for name in (FIRST, *OTHERS):
        placed = next(item for item in made() if item.name == Path(name).stem)
        path = driver.OUT / f"{placed.name}-render.png"
        render_preview(placed, path, TILE)
        pairs.append((DATA / name, path))
        yield
    sheet = Image.new("RGB", (len(pairs) * (TILE + GAP) - GAP, 2 * TILE + GAP), "white")
    for column, pair in enumerate(pairs):
        for row, path in enumerate(pair):
            with Image.open(path) as picture:
                tile = picture.convert("RGBA").resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * (TILE + GAP), row * (TILE + GAP)), tile)
    compare.save(sheet, target("objects"))
    driver.check(len(pairs) == 1 + len(OTHERS), "all are rendered")


def browsed():
    """Show the library in an Asset Browser."""
    shelf = module("operators.library").folder()
    yield from driver.until(lambda: len(list(shelf.glob("*/asset.blend"))) == 1 + len(OTHERS), "all are assets", 300)
    strip = driver.area("DOPESHEET_EDITOR")
    strip.ui_type = "ASSETS"
    yield from driver.wait(1)
    edge = (strip.x + 500, strip.y + strip.height)
    yield from driver.move(*edge)
    driver.window().event_simulate("LEFTMOUSE", "PRESS", x=edge[0], y=edge[1])
    for y in range(edge[1], edge[1] + 160, 20):
        driver.window().event_simulate("MOUSEMOVE", "NOTHING", x=edge[0], y=y)
        yield from driver.wait(0.1)
    driver.window().event_simulate("LEFTMOUSE", "RELEASE", x=edge[0], y=edge[1] + 140)
    space = driver.area("FILE_BROWSER").spaces.active
    yield from driver.until(lambda: space.params is not None, "the Asset Browser is open")
    space.params.asset_library_reference = "Espalier"
    look(everything=True)
    yield from still.park()
    yield from driver.wait(6)
    yield from driver.screenshot("library")
    area = driver.area("FILE_BROWSER")
    keep("library", (area.x, area.y, WIDTH, area.height))


driver.run(scenario)
