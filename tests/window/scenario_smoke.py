# SPDX-License-Identifier: GPL-3.0-or-later
"""The window opens with the extension enabled, the mouse and keys reach it, and the tab is in the sidebar."""

import os
import sys

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver


def scenario():
    yield from driver.wait(1)
    driver.check("bl_ext.user_default.espalier" in bpy.context.preferences.addons, "the extension is enabled")
    yield from driver.move(*driver.centre(driver.region("VIEW_3D", "WINDOW")))
    space = driver.area().spaces.active
    before = space.show_region_ui
    yield from driver.key("N")
    yield from driver.until(
        lambda: driver.area().spaces.active.show_region_ui is not before, "the N key toggles the sidebar"
    )
    yield from driver.open_sidebar("Espalier")
    panels = [cls for cls in bpy.types.Panel.__subclasses__() if getattr(cls, "bl_category", "") == "Espalier"]
    driver.check(panels, "the extension has panels in its tab")
    driver.check(driver.region("VIEW_3D", "UI").width > 100, "the sidebar is wide enough to read")
    yield from driver.screenshot("smoke")


driver.run(scenario)
