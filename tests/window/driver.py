# SPDX-License-Identifier: GPL-3.0-or-later
"""Drive a real Blender window from inside: scenario scripts import this file from their own folder.

A scenario is a generator function that yields while it waits; `run` steps it from a timer, so that Blender keeps
drawing and handling events between the steps, and writes the verdict when it ends:

    import driver

    def scenario():
        yield from driver.until(lambda: driver.region("VIEW_3D", "UI").width > 1, "the sidebar opens")
        yield from driver.click(*driver.centre(driver.region("VIEW_3D", "UI")))
        yield from driver.screenshot("sidebar")
        driver.check(len(bpy.data.objects) == 3, "the scene still has three objects")

    driver.run(scenario)

Coordinates are pixels of the window, from its lower left corner. Blender must run with --enable-event-simulate.
"""

import itertools
import json
import os
import shutil
import subprocess
import time
import traceback
from pathlib import Path

import bpy

OUT = Path(os.environ.get("ESPALIER_WINDOW_OUT", "/out"))
FRAME_S = 0.02
TURNS = 3
START_S = 1.5
LIMIT_S = float(os.environ.get("ESPALIER_WINDOW_LIMIT_S", "300"))

_checks = []
_notes = []
_began = time.monotonic()
_mouse = {"x": 0, "y": 0}


class Failed(AssertionError):
    """What the scenario expected did not come."""


def check(condition, what):
    """Note that `what` was looked at; end the scenario if it does not hold."""
    judge(condition, what)
    if not condition:
        raise Failed(what)


def judge(condition, what):
    """Note that `what` was looked at; go on also if it does not hold, which fails the scenario at its end."""
    _checks.append({"what": what, "ok": bool(condition)})
    print(f"{time.monotonic() - _began:5.1f} s  {'ok  ' if condition else 'FAIL'} {what}", flush=True)


def note(what):
    """Say something once beside the checks, such as why one was left out."""
    if what not in _notes:
        _notes.append(what)


def window():
    """Return the first window; never keep it, for a file load makes it stale."""
    return bpy.context.window_manager.windows[0]


def area(kind="VIEW_3D"):
    """Return the largest area of a kind of editor."""
    areas = [item for item in window().screen.areas if item.type == kind]
    return max(areas, key=lambda item: item.width * item.height)


def region(kind="VIEW_3D", name="UI"):
    """Return a region of the largest area of a kind of editor: WINDOW, UI, TOOLS, HEADER."""
    return next(item for item in area(kind).regions if item.type == name)


def centre(rectangle):
    """Return the middle of an area or a region."""
    return rectangle.x + rectangle.width // 2, rectangle.y + rectangle.height // 2


def override(kind="VIEW_3D", name="WINDOW"):
    """Return a context override for operators that need an editor."""
    return bpy.context.temp_override(window=window(), area=area(kind), region=region(kind, name))


def wait(seconds):
    """Let Blender go on for a while, and for a few turns of its main loop however slowly it draws."""
    end = time.monotonic() + seconds
    turns = 0
    while time.monotonic() < end or turns < TURNS:
        turns += 1
        yield


def until(condition, what, limit_s=120.0):
    """Wait until `condition()` holds; the scenario fails if it does not within the limit."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            check(False, f"{what} (within {limit_s:g} s)")
        yield
    check(True, what)


def move(x, y):
    """Move the mouse, in two steps: buttons become active when the mouse enters them."""
    _mouse.update(x=int(x), y=int(y))
    for offset in (3, 0):
        window().event_simulate("MOUSEMOVE", "NOTHING", x=int(x) + offset, y=int(y) + offset)
        yield from wait(0.15)


def click(x, y, button="LEFTMOUSE"):
    """Move the mouse to a place and click there."""
    yield from move(x, y)
    for value in ("PRESS", "RELEASE"):
        window().event_simulate(button, value, x=int(x), y=int(y))
        yield from wait(0.1)
    yield from wait(0.3)


def key(name, unicode=None, **modifiers):
    """Press and release a key, with ctrl=True, shift=True or alt=True where wanted; the mouse decides the editor."""
    text = {"unicode": unicode} if unicode else {}
    window().event_simulate(name, "PRESS", **_mouse, **text, **modifiers)
    yield from wait(0.05)
    window().event_simulate(name, "RELEASE", **_mouse, **modifiers)
    yield from wait(0.3)


def scroll(x, y, steps=1, down=True):
    """Turn the mouse wheel over a place."""
    yield from move(x, y)
    for _ in range(steps):
        window().event_simulate("WHEELDOWNMOUSE" if down else "WHEELUPMOUSE", "PRESS", x=int(x), y=int(y))
        yield from wait(0.1)


def screenshot(name):
    """Write `name`.png, the whole window as it is on the screen, into the output folder.

    Where ImageMagick can read the X server's screen it does: Blender's own operator reads black from Mesa's software
    renderer.
    """
    yield from wait(0.4)
    path = OUT / f"{name}.png"
    if os.environ.get("DISPLAY") and shutil.which("import"):
        capture = subprocess.Popen(["import", "-window", "root", str(path)], stdin=subprocess.DEVNULL)
        while capture.poll() is None:
            yield
        check(capture.returncode == 0, f"the screenshot {path.name} is taken")
    else:
        with bpy.context.temp_override(window=window()):
            bpy.ops.screen.screenshot(filepath=str(path))
    yield


def open_sidebar(category=""):
    """Show the sidebar of the 3D viewport, with the tab `category` in front where this Blender lets scripts choose."""
    area().spaces.active.show_region_ui = True
    yield from until(lambda: region("VIEW_3D", "UI").width > 1, "the sidebar is open")
    if category and hasattr(region("VIEW_3D", "UI"), "active_panel_category"):
        yield from until(lambda: _choose(category), f"the tab {category} is in front")
        area().tag_redraw()
    yield from wait(0.5)


def _choose(category):
    """Choose a tab of the sidebar; before its first drawing the region has none, and Blender calls them read-only."""
    try:
        region("VIEW_3D", "UI").active_panel_category = category
    except AttributeError:
        return False
    return True


def dismiss_splash():
    """Close the splash screen, which is in front of everything in a new user folder."""
    yield from move(*centre(region("VIEW_3D", "WINDOW")))
    yield from key("ESC")
    yield from move(*(value - 40 for value in centre(region("VIEW_3D", "WINDOW"))))


def run(scenario):
    """Step `scenario` (a generator function without arguments) from a timer, write verdict.json and quit Blender."""
    # What a scenario sets in the preferences (a scale, a theme, a key) is not for those after it.
    bpy.context.preferences.use_preferences_save = False
    steps = None
    end = time.monotonic() + LIMIT_S

    def tick():
        nonlocal steps
        try:
            if steps is None:
                steps = itertools.chain(dismiss_splash(), scenario())
            if time.monotonic() > end:
                raise Failed(f"the scenario did not end within {LIMIT_S:g} s")
            time.sleep(FRAME_S)  # Blender, which simulates events, would not: it would use up a core
            next(steps)
            return 0.0
        except StopIteration:
            _end("")
        except BaseException:
            _end(traceback.format_exc())
        return None

    bpy.app.timers.register(tick, first_interval=START_S, persistent=True)


def _end(problem):
    verdict = {
        "ok": not problem and bool(_checks) and all(item["ok"] for item in _checks),
        "blender": bpy.app.version_string,
        "checks": _checks,
        "notes": _notes,
        "problem": problem,
    }
    if problem:
        print(problem, flush=True)
    temporary = OUT / ".verdict.json"
    temporary.write_text(json.dumps(verdict, indent=2), "utf-8")
    temporary.replace(OUT / "verdict.json")
    bpy.ops.wm.quit_blender()
