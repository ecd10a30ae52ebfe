# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in, and the preview of what the engine will see: cut out, paint a mask, capture, drop, Image menu."""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import sidebar
import still

DATA = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parent / "data"
HOME = "bl_ext.user_default.espalier.operators"


def made():
    """Return the objects that Espalier has placed."""
    return [item for item in bpy.data.objects if item.type == "MESH" and "espalier" in item]


def settled(cutout):
    """Tell whether the preview shows what is chosen now."""
    return not cutout.state.waiting and cutout.is_shown(bpy.context.scene.espalier)


def stroke(start, end, steps=12):
    """Draw with the brush from one place of the window to another."""
    yield from driver.move(*start)
    window = driver.window()
    window.event_simulate("LEFTMOUSE", "PRESS", x=int(start[0]), y=int(start[1]))
    yield from driver.wait(0.1)
    for step in range(1, steps + 1):
        x, y = (int(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True))
        window.event_simulate("MOUSEMOVE", "NOTHING", x=x, y=y)
        yield from driver.wait(0.05)
    window.event_simulate("LEFTMOUSE", "RELEASE", x=int(end[0]), y=int(end[1]))
    yield from driver.wait(0.3)


def scenario():
    cutout = sys.modules[f"{HOME}.cutout"]
    session = sys.modules[f"{HOME}.session"]
    settings = bpy.context.scene.espalier
    settings.resolution, settings.texture_size = "512", "1024"
    yield from driver.open_sidebar("Espalier")
    yield from driver.screenshot("1-empty")

    settings.image = bpy.data.images.load(str(DATA / "duck.jpg"))
    driver.check(cutout.state.waiting, "choosing an image asks for its cut-out")
    yield from driver.wait(0.1)
    yield from driver.screenshot("2-cutting-out")
    yield from driver.until(lambda: settled(cutout), "the cut-out is shown")
    driver.check(cutout.state.error is None and cutout.state.icon > 0, "it is a picture")
    yield from still.panel("3-cut-out")

    yield from open_choices()
    yield from still.panel("4-choices")

    settings.cutout.threshold = 0.6
    driver.check(cutout.unfinished(settings), "Generate waits for the cut-out")
    yield from driver.until(lambda: settled(cutout), "another threshold is shown")
    settings.cutout.background = "u2netp"
    yield from driver.until(lambda: settled(cutout), "a model that is not installed is told")
    driver.check(cutout.state.error.code == "background_model_missing", "with its own sentence")
    yield from still.panel("5-missing-model")
    settings.cutout.background, settings.cutout.threshold = "automatic", 0.0
    yield from driver.until(lambda: settled(cutout), "back to automatic")

    yield from painted(cutout, settings)
    yield from captured(cutout, settings)
    yield from dropped(session)
    yield from from_the_image_editor(session, settings)


def open_choices():
    """Open the panel Cut-Out: its header is the row below the button that refreshes the preview."""
    _, y = yield from sidebar.find("espalier.show_cutout", inset=40)
    yield from driver.click(driver.region("VIEW_3D", "UI").x + 80, y - 26)
    yield from driver.wait(0.5)


def painted(cutout, settings):
    """Edit the mask in an Image Editor of this window, with the mouse."""
    other = next(area for area in driver.window().screen.areas if area.type == "PROPERTIES")
    other.ui_type = "IMAGE_EDITOR"
    yield from driver.wait(0.5)
    yield from sidebar.press("espalier.edit_mask")
    yield from driver.until(lambda: settings.cutout.mask is not None, "Edit Mask makes the mask")
    driver.check(other.spaces.active.image == settings.cutout.mask, "the Image Editor shows it")
    driver.check(other.spaces.active.mode == "PAINT", "ready to paint")
    yield from driver.until(lambda: settled(cutout), "the preview is of the mask")
    driver.check(cutout.state.note["how"] == "mask", "by the mask")
    before = cutout.state.about["mask"]
    region = next(item for item in other.regions if item.type == "WINDOW")
    paint = bpy.context.tool_settings.image_paint
    if paint.brush is None:  # from 4.3 on brushes are assets; a new user folder has chosen none, Debian ships none
        paint.brush = bpy.data.brushes.new("Eraser", mode="TEXTURE_PAINT")
    paint.brush.blend = "ERASE_ALPHA"
    yield from driver.wait(1)
    yield from driver.screenshot("6-mask")
    x, y = region.x + region.width // 3, region.y + region.height * 2 // 3
    yield from stroke((x - 30, y - 30), (x + 30, y + 30))
    yield from driver.screenshot("7-stroke")
    yield from driver.until(
        lambda: settled(cutout) and cutout.state.about["mask"] != before, "the preview follows the brush"
    )
    yield from driver.wait(1)
    yield from driver.screenshot("8-painted")
    other.ui_type = "PROPERTIES"
    yield from sidebar.press("espalier.discard_mask", inset=40)
    yield from driver.until(lambda: settings.cutout.mask is None, "Discard Mask forgets it")
    yield from driver.until(lambda: settled(cutout), "the preview is as it was")


def captured(cutout, settings):
    """Capture what the viewport shows: the cube, without the grid."""
    yield from sidebar.press("espalier.capture_viewport", inset=40)
    yield from driver.until(lambda: settings.image is not None and settings.image.name == "Viewport", "it is captured")
    driver.check(driver.area().spaces.active.overlay.show_overlays, "the overlays are there again")
    alpha = list(settings.image.pixels)[3::4]
    share = sum(value > 0.5 for value in alpha) / len(alpha)
    driver.check(0.005 < share < 0.6, f"the cube alone is seen, {share:.1%} of the picture")
    yield from driver.until(lambda: settled(cutout), "its cut-out is shown")
    driver.check(cutout.state.note.get("how") == "alpha", "its background is transparent")
    yield from driver.screenshot("9-viewport")


def dropped(session):
    """Hand files to the operator as Blender's file handler does, with the mouse over the cube."""
    middle = driver.centre(driver.region("VIEW_3D", "WINDOW"))
    yield from driver.move(*middle)
    files = [{"name": "rocket.png"}, {"name": "mug.png"}, {"name": "ball.png"}]
    with driver.override():
        surface_at = sys.modules[f"{HOME}.viewing"].surface_at
        space = driver.area().spaces.active
        region = bpy.context.region
        place = surface_at(bpy.context, space, region, (region.width // 2, region.height // 2))[0]
        driver.check(place is not None and max(map(abs, place)) < 1.01 and place.z > 0, f"on the cube: {place}")
        away = surface_at(bpy.context, space, region, (region.width // 2, region.height // 8))[0]
        driver.check(away is not None and abs(away.z) < 1e-4, f"beside it on the ground: {away}")
        bpy.ops.espalier.drop_images("INVOKE_DEFAULT", directory=str(DATA), files=files, location=(3.0, -2.0, 0.0))
    yield from driver.until(lambda: len(made()) == 3, "three objects come")
    places = sorted(round(item.location.x + item.location.y, 3) for item in made())
    driver.check(len(set(places)) == 3, f"in a row: {[tuple(item.location) for item in made()]}")
    yield from driver.wait(1)
    with driver.override():
        bpy.ops.view3d.view_all()
    driver.area().spaces.active.shading.color_type = "TEXTURE"
    yield from driver.wait(1)
    yield from driver.screenshot("10-dropped")


def from_the_image_editor(session, settings):
    """Choose Generate 3D in the Image menu of an Image Editor, with the mouse."""
    other = next(area for area in driver.window().screen.areas if area.type == "PROPERTIES")
    other.ui_type = "IMAGE_EDITOR"
    other.spaces.active.image = bpy.data.images.load(str(DATA / "mushroom.webp"))
    yield from driver.wait(1)
    header = next(item for item in other.regions if item.type == "HEADER")
    yield from driver.click(header.x + 115, header.y + header.height // 2)
    yield from driver.wait(0.4)
    yield from driver.screenshot("11-image-menu")
    yield from driver.key("ESC")
    before = len(made())
    with bpy.context.temp_override(window=driver.window(), area=other, region=header):
        driver.check(bpy.ops.espalier.generate_image.poll(), "Generate 3D can be chosen")
        bpy.ops.espalier.generate_image("INVOKE_DEFAULT")
    yield from driver.until(lambda: len(made()) == before + 1, "the Image Editor's image becomes an object")
    driver.check(settings.image == other.spaces.active.image, "the panel shows it")
    yield from driver.wait(2)
    yield from driver.screenshot("12-from-the-image-editor")


driver.run(scenario)
