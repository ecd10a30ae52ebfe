# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote engine as a person meets it: no online access, the preferences, a price, a question, an unknown outcome.

The server is one of our own on loopback, in a process of its own.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])

import bpy
import driver
import sidebar
import still
from service import Server

ROOT = Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parents[1]
FIELD = 28
"""From the upper edge of a field to the middle of the one below."""
MODULE = "bl_ext.user_default.espalier"


def module(name):
    return sys.modules[f"{MODULE}.{name}"]


def made():
    """Return the objects that Espalier has placed."""
    return [item for item in bpy.data.objects if item.type == "MESH" and "espalier" in item]


def jobs():
    """Return the jobs of this scenario; the ledger also has those of the scenarios before."""
    return [job for job in module("operators.session").known_jobs() if job.request.engine == "remote"]


def asked(question):
    """Return what is known about a question to the server."""
    return module("operators.session").session.inquiries.of(question)


def shown(name):
    driver.area().tag_redraw()
    yield from driver.wait(1.5)
    yield from driver.screenshot(name)


def info_log():
    """Return what Blender's own log of actions holds, which it also writes into crash reports."""
    area = driver.area("VIEW_3D")
    area.type = "INFO"
    yield from driver.wait(1)
    override = bpy.context.temp_override(window=driver.window(), area=area, region=area.regions[-1])
    with override:
        bpy.ops.info.select_all(action="SELECT")
        bpy.ops.info.report_copy()
    area.type = "VIEW_3D"
    yield from driver.wait(1)
    return bpy.context.window_manager.clipboard


def type_key(preferences, text):
    """Type the key into its field in the preferences, as a person does: the one below that of the base URL."""
    region = next(item for item in driver.area("PREFERENCES").regions if item.type == "WINDOW")
    x = region.x + int(region.width * 0.7)
    for y in range(region.y + region.height - 200, region.y, -5):
        bpy.context.window_manager.clipboard = ""
        yield from driver.move(x, y)
        yield from driver.key("C", ctrl=True)
        if bpy.context.window_manager.clipboard == preferences.base_url:
            break
    else:
        driver.check(False, "the mouse finds the base URL in the preferences")
    yield from driver.click(x, y - FIELD)
    yield from driver.key("A", ctrl=True)
    for letter in text:
        yield from driver.key(letter.upper() if letter.isalpha() else "MINUS", unicode=letter)
    yield from driver.screenshot("2-typing")
    yield from driver.key("RET")
    driver.check(preferences.api_key == text, "the key can be typed")


def scenario():
    space = driver.area().spaces.active
    space.shading.color_type = "TEXTURE"
    settings = bpy.context.scene.espalier
    preferences = bpy.context.preferences.addons[MODULE].preferences
    session = module("operators.session")
    bpy.context.preferences.system.use_online_access = False
    bpy.context.scene.cursor.location = (0.0, -4.0, 0.0)
    yield from driver.open_sidebar("Espalier")
    settings.image = bpy.data.images.load(str(ROOT / "tests" / "data" / "rocket.png"))
    settings.engine = "remote"
    yield from still.panel("1-offline")

    server = Server("--job-seconds", "8", "--rate", "500")
    yield from driver.until(lambda: server.key, "the server serves")
    preferences.base_url = server.url
    bpy.context.window_manager.addon_search = "Espalier"
    bpy.context.preferences.active_section = "ADDONS"
    bpy.ops.preferences.addon_expand(module=MODULE)
    driver.area().type = "PREFERENCES"
    yield from driver.wait(2)
    yield from type_key(preferences, "sk-secret-typed")
    bpy.ops.espalier.test_key("INVOKE_DEFAULT")
    yield from driver.until(lambda: asked("account").error is not None, "a wrong key is told")
    yield from driver.wait(1)
    yield from driver.screenshot("3-wrong-key")
    preferences.api_key = server.key
    bpy.ops.espalier.test_key("INVOKE_DEFAULT")
    yield from driver.until(lambda: asked("account").answer, "the right key is told")
    yield from driver.wait(1)
    yield from driver.screenshot("4-right-key")
    driver.area("PREFERENCES").type = "VIEW_3D"
    log = yield from info_log()
    print(log)
    driver.check("bpy." in log, "Blender logs what is done")
    driver.check("secret-typed" not in log, "Blender's own log does not hold the key")

    yield from driver.until(lambda: module("operators.pricing").offer().told, "the server tells its prices")
    yield from still.panel("5-price")
    preferences.ask_above_usd = 0.1
    yield from sidebar.press("espalier.generate")
    yield from driver.wait(1)
    yield from driver.screenshot("6-asked")
    driver.check(not jobs(), "nothing is sent before the person agrees")
    yield from driver.key("RET")
    yield from driver.until(jobs, "it is sent once the person agrees")
    yield from driver.until(lambda: jobs()[0].fraction > 0.3, "the job makes progress")
    yield from shown("7-running")
    yield from driver.until(made, "the object appears")
    yield from driver.wait(1)
    with driver.override():
        bpy.ops.view3d.view_selected()
    yield from shown("8-object")
    driver.check(session.spent().session > 0.24, "what it cost is counted")

    preferences.ask_above_usd = 1.0
    bpy.ops.espalier.generate("INVOKE_DEFAULT")
    yield from driver.until(lambda: jobs()[0].active and jobs()[0].remote_id, "another one is at the server")
    bpy.ops.espalier.cancel("EXEC_DEFAULT", job=jobs()[0].id)
    yield from driver.until(lambda: session.session.error is not None, "the cancel is told")
    yield from shown("9-cancelled")
    bpy.ops.espalier.dismiss("EXEC_DEFAULT")
    server.end()

    lossy = Server("--rate", "500", "--fault", "create:reset_answered*2")
    yield from driver.until(lambda: lossy.key, "another server serves")
    preferences.base_url, preferences.api_key = lossy.url, lossy.key
    bpy.ops.espalier.generate("INVOKE_DEFAULT")
    yield from driver.until(lambda: jobs()[0].state == "unknown", "the answer is lost")
    yield from still.panel("10-unknown", at="")
    bpy.ops.espalier.check_usage("INVOKE_DEFAULT")
    yield from driver.until(lambda: not asked("usage").waiting, "the usage is looked up")
    yield from shown("11-checked")
    yield from sidebar.press("espalier.fetch")
    yield from driver.until(lambda: len(made()) == 2, "what was paid for is fetched")
    yield from shown("12-fetched")
    steps = {"name": "ss_sampling_steps", "range": [1, 20]}
    asked("model").answer = {"supported_parameters": [steps, {"name": "resolution", "enum": ["512", "1024"]}]}
    settings.resolution = "1536"
    driver.check(settings.resolution == "1024", "the panel keeps to what the server takes")
    yield from still.panel("13-limits")
    bpy.ops.espalier.generate("INVOKE_DEFAULT")
    yield from driver.until(lambda: jobs()[0].state == "unknown", "another answer is lost")
    yield from driver.wait(1)
    asked("usage").answer = {}
    x, y = yield from sidebar.find("espalier.check_usage")
    yield from driver.click(x + 90, y)
    yield from driver.wait(1)
    yield from driver.screenshot("14-retry-asked")
    driver.check(jobs()[0].state == "unknown", "it is not sent again before the person agrees")
    yield from driver.key("ESC")
    lossy.end()


driver.run(scenario)
