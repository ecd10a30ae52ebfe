# SPDX-License-Identifier: GPL-3.0-or-later
"""TRELLIS.2 as an artist meets it: chosen, offered with its button, and told in the preferences how it runs."""

import os
import sys
import tempfile

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import sidebar
import still

MODULE = "bl_ext.user_default.espalier"


def environments():
    return sys.modules[f"{MODULE}.operators.environments"]


def obstacle():
    return environments().state.obstacle


def can_generate():
    with driver.override():
        return bpy.ops.espalier.generate.poll("INVOKE_DEFAULT")


def shown(name):
    sys.modules[f"{MODULE}.operators.session"].redraw()
    yield from driver.wait(1.2)
    yield from driver.screenshot(name)


def scenario():
    preferences = bpy.context.preferences.addons[MODULE].preferences
    os.environ.pop("ESPALIER_ASSUME_GPU", None)
    preferences.environments_folder = tempfile.mkdtemp(prefix="environments ")
    yield from driver.open_sidebar("Espalier")
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.new("any", 64, 64)
    yield from driver.wait(1)
    driver.check(can_generate(), "the draft engine is not bothered")

    os.environ["ESPALIER_ASSUME_GPU"] = "1"
    forecast = sys.modules[f"{MODULE}.operators.forecast"]
    forecast.look = lambda: None
    forecast.graphics.free = forecast.graphics.total = None  # whichever card this machine has
    settings.engine = "trellis2"
    driver.check(obstacle() is not None, "what is missing is seen as it is chosen")
    driver.check((obstacle().profile, obstacle().act) == ("cuda", "install"), "it can be installed")
    driver.check(not can_generate(), "Generate waits for it")
    yield from still.panel("1-offered")
    yield from sidebar.press("espalier.install_environment")
    yield from driver.wait(1)
    yield from driver.screenshot("2-asked")
    yield from driver.key("ESC")
    settings.engine = "draft"
    driver.check(can_generate(), "another engine can be used meanwhile")

    bpy.context.window_manager.addon_search = "Espalier"
    bpy.context.preferences.active_section = "ADDONS"
    bpy.ops.preferences.addon_expand(module=MODULE)
    driver.area().type = "PREFERENCES"
    yield from driver.wait(2)
    x, y = driver.centre(driver.region("PREFERENCES", "WINDOW"))
    yield from driver.scroll(x, y, 60)
    yield from driver.screenshot("3-preferences")
    bpy.ops.espalier.measure_stages()
    yield from shown("4-measured")


driver.run(scenario)
