# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel and the preferences in Japanese and in Simplified Chinese, chosen while Blender runs, also large."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import sidebar

DATA = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parent / "data"
MODULE = "bl_ext.user_default.espalier"
LANGUAGES = ("ja_JP", "zh_HANS")
SCREENS = 4
"""Screenshots of the sidebar that follow each other as it is scrolled."""


def module(name):
    return sys.modules[f"{MODULE}.{name}"]


def texts(locale):
    return json.loads((Path(module("operators.languages").__file__).parent / f"{locale}.json").read_text("utf-8"))


def open_all():
    """Have all sub-panels open: how they are opened is for other scenarios."""
    panels = module("panels")
    panels.unregister()
    for cls in panels.CLASSES:
        if hasattr(cls, "bl_parent_id"):
            cls.bl_options = set(getattr(cls, "bl_options", ())) - {"DEFAULT_CLOSED"}
    panels.register()


def speak(locale):
    """Choose a language as a person does in the preferences, and wait until what is ours has followed."""
    bpy.context.preferences.view.language = locale
    languages = module("operators.languages")
    yield from driver.until(
        lambda: languages.file_of(bpy.app.translations.locale) == locale, f"Blender speaks {locale}"
    )
    said = texts(locale)["Choose an image to start"]
    yield from driver.until(lambda: languages.say("Choose an image to start") == said, "the extension follows")
    find = bpy.app.translations.pgettext_iface
    driver.check(find("Made With") == texts(locale)["Made With"], "Blender finds our label")
    driver.check(find("Generate Variations", "Operator") == texts(locale)["Generate Variations"], "and our button")
    driver.check(find("Revert", "Espalier") == texts(locale)["Revert"], "and what Blender has with another meaning")
    tooltip = module("operators.settings").EspalierSettings.bl_rna.properties["remesh"].description
    driver.check(bpy.app.translations.pgettext_tip(tooltip) != tooltip, "and a tooltip that is put together")
    module("operators.session").redraw()
    yield from driver.wait(1.0)


def scrolled(name):
    """Take screenshots of all of the sidebar."""
    yield from sidebar.scroll_to_top()
    for number in range(SCREENS):
        yield from driver.screenshot(f"{name}-{number + 1}")
        if not (yield from sidebar.scroll(down=True)):
            return


def scenario():
    session = module("operators.session")
    error = module("engine.errors").EspalierError
    open_all()
    yield from driver.open_sidebar("Espalier")
    settings = bpy.context.scene.espalier
    yield from speak(LANGUAGES[0])
    yield from driver.screenshot("0-without-image")
    settings.image = bpy.data.images.load(str(DATA / "mug.png"))
    bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=str(DATA / "rocket.png"), engine="draft")
    yield from driver.until(lambda: session.session.queue and not session.session.queue.busy, "an asset is made")
    for locale in LANGUAGES:
        yield from speak(locale)
        session.fail(error("background_busy", path="/photos/ann/mug.png"))
        yield from scrolled(f"1-{locale}")
    bpy.context.preferences.view.ui_scale = 2.0
    yield from driver.wait(1.0)
    for locale in LANGUAGES:
        yield from speak(locale)
        yield from scrolled(f"2-{locale}-large")
    bpy.context.preferences.view.ui_scale = 1.0
    settings.engine = "trellis2"
    for locale in LANGUAGES:
        yield from speak(locale)
        yield from sidebar.scroll_to_top()
        yield from driver.screenshot(f"3-{locale}-not-ready")
        bpy.ops.preferences.addon_show(module=MODULE)
        yield from driver.wait(2.0)
        yield from driver.screenshot(f"4-{locale}-preferences")
        while len(bpy.context.window_manager.windows) > 1:
            with bpy.context.temp_override(window=bpy.context.window_manager.windows[-1]):
                bpy.ops.wm.window_close()
            yield from driver.wait(0.5)
    bpy.context.preferences.view.language = "en_US"
    yield from driver.until(lambda: module("operators.languages").say("Made With") == "Made With", "English again")
    driver.check(bpy.app.translations.pgettext_iface("Made With") == "Made With", "Blender has let go of our texts")


driver.run(scenario)
