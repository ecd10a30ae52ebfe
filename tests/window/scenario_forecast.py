# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next asset will take, as an artist reads it: also where it does not fit, large, and in a light theme."""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import still

DATA = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parent / "data"
MODULE = "bl_ext.user_default.espalier"
GIB = 1 << 30
LIGHT = "Blender_Light.xml"


def module(name):
    return sys.modules[f"{MODULE}.operators.{name}"]


def scenario():
    forecast, preferences = module("forecast"), bpy.context.preferences
    yield from driver.open_sidebar("Espalier")
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.load(str(DATA / "mug.png"))
    driver.check("two cores" in forecast.forecast(settings).words, "without a job of its own it says whose time it is")
    yield from still.panel("1-draft")
    settings.engine = "remote"
    driver.check("0.249 USD" in forecast.forecast(settings).words, "the price is told beforehand")
    yield from still.panel("2-remote")
    os.environ["ESPALIER_ASSUME_GPU"] = "1"
    forecast.look = lambda: None
    forecast.graphics.free, forecast.graphics.total = 7 * GIB, 12 * GIB
    settings.engine, settings.resolution = "trellis2", "512"
    driver.check(forecast.forecast(settings).problem is None, "the smallest resolution fits")
    yield from still.panel("3-fits")
    settings.resolution = "1536"
    driver.check(forecast.forecast(settings).problem is not None, "the largest does not")
    yield from still.panel("4-does-not-fit")

    settings.engine = "draft"
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath="/nowhere/missing.png", engine="draft")
    yield from driver.until(lambda: module("session").session.error is not None, "a job fails")
    bpy.ops.espalier.dismiss("EXEC_DEFAULT")
    with still.paused():
        for name in ("rocket.png", "duck.jpg"):
            bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(DATA / name), engine="draft")
        yield from light_and_large(preferences)


def light_and_large(preferences):
    running = next(job.id for job in module("queue_list").shown() if job.active)
    themes = (Path(each) / LIGHT for each in bpy.utils.preset_paths("interface_theme"))
    light = next(path for path in themes if path.is_file())
    bpy.ops.script.execute_preset(filepath=str(light), menu_idname="USERPREF_MT_interface_theme_presets")
    yield from still.panel("5-light", running=running)
    preferences.view.ui_scale = 2.0
    yield from driver.wait(1.0)
    yield from driver.scroll(*driver.centre(driver.region("VIEW_3D", "UI")), 10)
    yield from still.panel("6-large", running=running, at="")


driver.run(scenario)
