# SPDX-License-Identifier: GPL-3.0-or-later
"""The library as an artist meets it: a preset, a result, how it was made, found in the Asset Browser and dragged out.

Then what it takes on the disk, and what is left of it once the add-on is disabled.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import sidebar
import still

DATA = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parent / "data"
MODULE = "bl_ext.user_default.espalier"
NAME = "杯子 mug"


def module(name):
    return sys.modules[f"{MODULE}.{name}"]


def made():
    """Return the objects that Espalier has placed."""
    return [item for item in bpy.data.objects if item.type == "MESH" and "espalier" in item]


def files():
    return sorted(module("operators.library").folder().glob("*/asset.blend"))


def entries():
    return [each.name for each in bpy.context.preferences.filepaths.asset_libraries]


def browser():
    """Return the region of the Asset Browser in which the assets are."""
    return driver.region("FILE_BROWSER", "WINDOW")


def drag(start, end, name=""):
    """Press the mouse at a place, move it to another and let it go."""
    yield from driver.move(*start)
    driver.window().event_simulate("LEFTMOUSE", "PRESS", x=int(start[0]), y=int(start[1]))
    yield from driver.wait(0.2)
    for step in range(1, 11):
        at = [int(a + (b - a) * step / 10) for a, b in zip(start, end, strict=True)]
        driver.window().event_simulate("MOUSEMOVE", "NOTHING", x=at[0], y=at[1])
        yield from driver.wait(0.1)
    if name:
        yield from driver.screenshot(name)
    driver.window().event_simulate("LEFTMOUSE", "RELEASE", x=int(end[0]), y=int(end[1]))
    yield from driver.wait(0.5)


def scenario():
    before, shelved = entries(), set(files())
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    yield from driver.open_sidebar("Espalier")
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.load(str(DATA / "mug.png"))
    settings.image.name = NAME
    settings.seed = 77
    driver.area().tag_redraw()
    yield from driver.wait(1)

    side = driver.region("VIEW_3D", "UI")
    yield from driver.click(side.x + side.width - 60, side.y + side.height - 15)
    yield from driver.wait(0.5)
    yield from driver.screenshot("1-presets")
    still.compare("1-presets", (side.x + 114, side.y + side.height - 172, 210, 134))
    yield from driver.move(*driver.centre(driver.region("VIEW_3D", "WINDOW")))
    yield from driver.key("ESC")
    preview = next(Path(f) for f in bpy.utils.preset_paths("espalier")) / "Preview.py"
    bpy.ops.espalier.apply_preset("EXEC_DEFAULT", filepath=str(preview))
    driver.check((settings.resolution, settings.seed) == ("512", 77), "the preset is applied, the seed stays")
    yield from driver.wait(0.5)

    yield from sidebar.press("espalier.generate")
    yield from driver.until(made, "the object appears")
    yield from driver.until(lambda: set(files()) - shelved, "another Blender makes it an asset")
    yield from driver.until(lambda: "Espalier" in entries(), "the preferences have the library")
    driver.check(len(bpy.data.libraries) == 0 and len(made()) == 1, "the open file has nothing but the object")

    yield from sidebar.toggle("ESPALIER_PT_made_with")
    yield from still.panel("2-made-with", at="bottom")
    bpy.context.scene.espalier.seed = 1
    bpy.ops.ed.undo_push(message="Another Seed")
    yield from sidebar.press("espalier.use_settings")
    yield from driver.until(
        lambda: bpy.context.scene.espalier.seed == 77, "Copy Settings to Panel brings the seed back"
    )
    yield from driver.move(*driver.centre(driver.region("VIEW_3D", "WINDOW")))
    yield from driver.key("Z", ctrl=True)
    yield from driver.until(lambda: bpy.context.scene.espalier.seed == 1, "one undo takes it back")

    strip = driver.area("DOPESHEET_EDITOR")
    strip.ui_type = "ASSETS"
    yield from driver.wait(1)
    yield from drag((strip.x + 600, strip.y + strip.height), (strip.x + 600, strip.y + 330))
    space = driver.area("FILE_BROWSER").spaces.active
    yield from driver.until(lambda: space.params is not None, "the Asset Browser is open")
    space.params.asset_library_reference = "Espalier"
    space.params.filter_search = NAME  # others are of earlier scenarios
    yield from driver.wait(3)
    yield from driver.screenshot("3-asset-browser")
    region = browser()
    tile = (region.x + 60, region.y + region.height - 70)
    yield from driver.click(*tile)
    yield from driver.wait(1)
    yield from driver.click(*tile, button="RIGHTMOUSE")
    yield from driver.wait(0.5)
    yield from driver.screenshot("4-menu")
    yield from driver.key("ESC")
    yield from driver.wait(0.5)
    view = driver.region("VIEW_3D", "WINDOW")
    yield from drag(tile, (view.x + view.width // 3, view.y + view.height // 2), "5-dragging")
    yield from driver.until(lambda: len(made()) == 2, "the asset is dragged into the scene", 20)
    first, second = sorted(made(), key=lambda item: item.name)
    driver.check(second["espalier"]["seed"] == 77, "and says how it was made")
    driver.check(len(second.data.polygons) == len(first.data.polygons), "it is the same mesh")
    yield from driver.screenshot("6-dragged")

    chosen = module("operators.account").preferences()
    chosen.library_keep_gb = 0.001
    use = module("operators.library_use")
    yield from driver.until(lambda: use.state.usage is not None, "a new limit has the library measured")
    driver.check(use.state.usage.surplus == 0, "nothing goes that the open file uses")
    bpy.ops.preferences.addon_show(module=MODULE)
    yield from driver.wait(2)
    yield from driver.screenshot("7-preferences")

    import addon_utils

    kept = files()
    addon_utils.disable(MODULE, default_set=False)
    yield from driver.wait(1)
    driver.check(entries() == before, "a disabled add-on leaves no library in the preferences")
    driver.check(files() == kept, "and deletes nothing")


driver.run(scenario)
