# SPDX-License-Identifier: GPL-3.0-or-later
"""Two windows with a scene each: an asset goes to the scene that it was asked for in, whoever works in the other."""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver

DATA = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parent / "data"
MODULE = "bl_ext.user_default.espalier"


def session():
    return sys.modules[f"{MODULE}.operators.session"]


def made():
    return [item for item in bpy.data.objects if item.type == "MESH" and "espalier" in item]


def newest():
    return str(session().known_jobs()[0].state)


def second():
    """Return the other window; never keep it."""
    return bpy.context.window_manager.windows[1]


def generate(name):
    with driver.override():
        bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(DATA / name), resolution="512", texture_size="1024")


def selected(scene):
    layer = bpy.data.scenes[scene].view_layers[0]
    return [item.name for item in layer.objects.selected], layer.objects.active and layer.objects.active.name


def scenario():
    yield from driver.open_sidebar("Espalier")
    forecast = sys.modules[f"{MODULE}.operators.forecast"]
    bpy.context.scene.espalier.image = bpy.data.images.load(str(DATA / "mug.png"))
    session().session.open_queue()
    yield from driver.wait(4)
    session().redraw()
    yield from driver.screenshot("1-before")
    words = forecast.forecast(bpy.context.scene.espalier).words
    for name in ("rocket.png", "ball.png", "mug.png"):
        generate(name)
    driver.check(forecast.forecast(bpy.context.scene.espalier).words != words, "the forecast tells of the others")
    session().redraw()
    yield from driver.screenshot("2-three-wait")
    yield from driver.until(lambda: len(made()) == 3, "all of them come")
    yield from driver.screenshot("3-done")

    with bpy.context.temp_override(window=driver.window()):
        bpy.ops.wm.window_new_main()
    yield from driver.until(lambda: len(bpy.context.window_manager.windows) == 2, "another window opens")
    other = bpy.data.scenes.new("Other")
    cube = bpy.data.objects.new("Theirs", bpy.data.meshes["Cube"].copy())
    other.collection.objects.link(cube)
    second().scene = other
    other.view_layers[0].objects.active = cube
    cube.select_set(True, view_layer=other.view_layers[0])
    yield from driver.wait(1)
    driver.check((driver.window().scene.name, second().scene.name) == ("Scene", "Other"), "each shows its own scene")
    bpy.ops.ed.undo_push(message="Another window")

    generate("rocket.png")
    yield from driver.until(lambda: newest() == "imported", "a job ends while another window is open")
    newcomer = made()[-1]
    driver.check(all(item.users_scene[0].name == "Scene" for item in made()), "it is in the scene that it was made for")
    driver.check(selected("Other") == (["Theirs"], "Theirs"), "the other scene's selection is as it was")
    driver.check(selected("Scene")[1] == newcomer.name, "who waits for it finds it active")

    with bpy.context.temp_override(window=second(), scene=other, view_layer=other.view_layers[0]):
        bpy.ops.object.mode_set(mode="EDIT")
    driver.check(bpy.data.objects["Theirs"].mode == "EDIT", "somebody edits in the other window")
    count = len(made())
    generate("ball.png")
    yield from driver.until(lambda: newest() == "ready", "the next one is ready")
    yield from driver.wait(2)
    driver.check(len(made()) == count and newest() == "ready", "it waits for the edit to end")
    driver.check(bpy.data.objects["Theirs"].mode == "EDIT", "which goes on")
    yield from driver.screenshot("4-two-windows")
    with bpy.context.temp_override(window=second(), scene=other, view_layer=other.view_layers[0]):
        bpy.ops.object.mode_set(mode="OBJECT")
    yield from driver.until(lambda: newest() == "imported", "and comes then")
    driver.check(len(made()) == count + 1, "once")

    generate("mug.png")
    with bpy.context.temp_override(window=second()):
        bpy.ops.wm.window_close()
    yield from driver.until(lambda: len(bpy.context.window_manager.windows) == 1, "the other window is closed")
    yield from driver.until(lambda: newest() == "imported", "the job does not mind")
    count = len(made())
    yield from driver.move(*driver.centre(driver.region("VIEW_3D", "WINDOW")))
    yield from driver.key("Z", ctrl=True)
    yield from driver.until(lambda: len(made()) == count - 1, "one undo takes the last one back")
    driver.check("Theirs" in bpy.data.scenes["Other"].objects, "and nothing else")
    yield from driver.screenshot("5-end")


driver.run(scenario)
