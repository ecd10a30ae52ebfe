# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments as an artist meets them: offered, refused offline, installed while Blender is used, broken, repaired.

The packages are tiny, from an index of our own on loopback; uv, the zip and the child process are the real ones.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.environ["ESPALIER_WINDOW_SCENARIOS"])
sys.path.append(str(Path(os.environ["ESPALIER_WINDOW_SCENARIOS"]).parents[1]))

import bpy
import driver
import sidebar
import still

from tests.support.index_server import Fault, IndexServer, Offer, serving
from tests.support.tiny_wheels import entry, profile_wheels, write_lock

MODULE = "bl_ext.user_default.espalier"


def answer(server, *arguments, original=IndexServer.process_request_thread):
    """Answer a request; a client that hangs up must not end Blender, which leaves SIGPIPE at its default."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    original(server, *arguments)


IndexServer.process_request_thread = answer


def module(name):
    return sys.modules[f"{MODULE}.{name}"]


def environments():
    return module("operators.environments")


def condition(profile="cpu"):
    status = environments().known(profile)
    return str(status.condition) if status else ""


def state():
    return environments().state


def shown(name):
    module("operators.session").redraw()
    yield from driver.wait(1.2)
    yield from driver.screenshot(name)


def ended(what):
    yield from driver.until(lambda: not state().working, what, 90)


def agree(name):
    """Take a picture of the dialog and press its button."""
    yield from driver.wait(1)
    yield from driver.screenshot(name)
    yield from driver.key("RET")


def press(act, profile):
    with driver.override():
        getattr(bpy.ops.espalier, f"{act}_environment")("INVOKE_DEFAULT", profile=profile)
    yield from driver.wait(0.5)


def scenario():
    folder = Path(tempfile.mkdtemp(prefix="environments "))
    wheels = profile_wheels(folder / "wheels", "cpu", payload=60_000)
    offer = Offer()
    for name, path in wheels.items():
        offer.add(name, path)
    write_lock(folder / "locks", "cpu", [entry(name, path) for name, path in wheels.items()])
    with serving(offer) as index:
        yield from installed(index, folder)


def installed(index, folder):
    preferences = bpy.context.preferences.addons[MODULE].preferences
    bpy.context.preferences.system.use_online_access = False
    yield from driver.until(lambda: condition(), "the environments are looked at after the start")
    preferences.environments_folder = str(folder / "place")
    here = environments().places
    environments().places = lambda: type(here())(here().root, here().bundled, folder / "locks")
    bpy.ops.espalier.look_at_environments()
    driver.check(condition() == "installable", "background removal can be installed")
    driver.check(condition("weights") == "impossible", "weights are not needed yet")

    yield from driver.open_sidebar("Espalier")
    yield from driver.wait(1)
    yield from sidebar.toggle("ESPALIER_PT_environments")
    yield from still.panel("1-offered")
    yield from sidebar.press("espalier.install_environment")
    yield from agree("2-asked")
    yield from driver.until(lambda: state().error is not None, "without online access it is refused")
    driver.check(state().error.code == "install_offline", "and the reason is the network")
    yield from still.panel("3-offline")

    yield from driver.key("ESC")
    bpy.ops.espalier.dismiss_environment()
    yield from driver.wait(1)
    preferences.index_url = index.url
    index.faults.append(Fault("/files/", "slow", times=-1, seconds=0.2, step=3000))
    yield from press("install", "cpu")
    yield from agree("4-asked-again")
    yield from driver.until(lambda: state().working and state().task.done_bytes > 50_000, "bytes come in")
    yield from shown("5-running")
    bpy.ops.wm.read_homefile(use_empty=True, load_ui=False)
    yield from driver.wait(1)
    before = state().task.done_bytes
    yield from driver.until(lambda: not state().task or state().task.done_bytes > before, "it goes on in another file")
    with driver.override():
        bpy.ops.espalier.cancel_environment()
    yield from ended("it is cancelled")
    driver.check(condition() == "installable", "nothing was installed")
    yield from shown("6-cancelled")

    index.faults.clear()
    sent = index.sent
    yield from press("install", "cpu")
    yield from driver.key("RET")
    yield from ended("it is installed")
    driver.check(condition() == "ready", "background removal is ready")
    driver.check(index.sent - sent < 500_000, "what was downloaded before the cancel was used")
    driver.check(condition("weights") == "installable", "now weights are of use")
    yield from still.panel("7-ready")

    next((folder / "place").rglob("numpy/__init__.py")).write_text("changed")
    yield from press("verify", "cpu")
    yield from ended("it is verified")
    driver.check(condition() == "broken", "a changed file is found")
    yield from still.panel("8-broken")
    yield from press("repair", "cpu")
    yield from driver.key("RET")
    yield from ended("it is repaired")
    driver.check(condition() == "ready", "it is ready again")

    yield from press("install", "weights")
    yield from driver.wait(1)
    yield from driver.screenshot("9-licenses")
    yield from driver.key("ESC")
    yield from press("remove", "cpu")
    yield from driver.wait(0.5)
    yield from driver.screenshot("10-remove-asked")
    yield from driver.key("RET")
    yield from driver.until(lambda: condition() == "installable", "it is removed")

    bpy.context.window_manager.addon_search = "Espalier"
    bpy.context.preferences.active_section = "ADDONS"
    bpy.ops.preferences.addon_expand(module=MODULE)
    driver.area().type = "PREFERENCES"
    yield from driver.wait(2)
    yield from driver.screenshot("11-preferences")
    x, y = driver.centre(driver.region("PREFERENCES", "WINDOW"))
    yield from driver.scroll(x, y, 8)
    yield from driver.screenshot("12-preferences-below")


driver.run(scenario)
