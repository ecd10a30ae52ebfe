# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what is in the sidebar of the 3D viewport, wherever it has moved to: buttons, and the headers of sub-panels.

Ctrl C over a button copies the Python command behind it: that tells which button the mouse is over. A header tells
nothing; that its panel is open shows in that its contents are drawn.
"""

import sys

import bpy
import driver

MODULE = "bl_ext.user_default.espalier"
STEP = 16
"""Pixels between two places where something is looked for: less than the height of a button."""
ROW = 26
"""From one header to the next, where both panels are closed."""
HEADER = 40
"""From the top of the sidebar to below the header of the tab's one panel."""
MARGIN = 3
"""Pixels at the left border of the sidebar where the mouse wheel scrolls it, and no list in it."""
NOTCHES = 10
"""How far the mouse wheel turns at once."""


def told(x, y, slowly=False):
    """Move the mouse to a place and return what Ctrl C copies there: a command, a value, or nothing.

    On a busy machine a button may not know yet that the mouse is over it; `slowly` gives it the time.
    """
    bpy.context.window_manager.clipboard = ""
    window = driver.window()
    for offset in (3, 0):
        window.event_simulate("MOUSEMOVE", "NOTHING", x=x + offset, y=y + offset)
        if slowly:
            yield from driver.wait(0.1)
    yield
    for value in ("PRESS", "RELEASE"):
        window.event_simulate("C", value, x=x, y=y, ctrl=True)
    yield
    yield from driver.wait(0.1 if slowly else 0.0)
    return bpy.context.window_manager.clipboard


def find(operator, inset=0):
    """Move the mouse down the sidebar until it is over the button of `operator`; return where that is.

    What can be seen is looked at first, then all of the sidebar, scrolling it from the top, at last slowly. `inset`
    says how far from the right border the button is; without it, buttons in the middle are looked for.
    """
    place = yield from _look(operator, inset, slowly=False)
    for slowly in (False, True):
        if place is None:
            yield from scroll_to_top()
            place = yield from _look(operator, inset, slowly)
        while place is None and (yield from scroll(down=True)):
            place = yield from _look(operator, inset, slowly)
    if place is None:
        driver.check(False, f"the mouse finds {operator} in the sidebar")
    yield from driver.move(*place)
    return place


def _look(operator, inset, slowly):
    """Return where the button is in what can be seen of the sidebar, None where it is not."""
    side = driver.region("VIEW_3D", "UI")
    x = side.x + (side.width - inset if inset else side.width // 2 - 20)
    for y in range(side.y + side.height - 10, side.y + 5, -STEP):
        command = yield from told(x, y, slowly)
        if command.startswith(f"bpy.ops.{operator}("):
            return x, y
    return None


def press(operator, inset=0):
    """Find a button in the sidebar and click on it."""
    yield from driver.click(*(yield from find(operator, inset)))


def scroll(down):
    """Scroll the sidebar by some of its height, as the mouse wheel would; return whether that moved it."""
    side = driver.region("VIEW_3D", "UI")
    before = side.view2d.region_to_view(0, 0)[1]
    yield from driver.move(side.x + MARGIN, side.y + side.height // 2)
    with driver.override(name="UI"):
        for _ in range(NOTCHES):
            # What the wheel calls. A turn of the wheel itself would wait for Blender to draw, each time.
            (bpy.ops.view2d.scroll_down if down else bpy.ops.view2d.scroll_up)()
    yield from driver.wait(0.1)
    return abs(driver.region("VIEW_3D", "UI").view2d.region_to_view(0, 0)[1] - before) > 1.0


def scroll_to_top():
    """Scroll the sidebar to its first panel."""
    while (yield from scroll(down=False)):
        pass


def panels():
    """Return the sub-panels of the tab that have headers now, from top to bottom."""
    found = [item for item in sys.modules[f"{MODULE}.panels"].CLASSES if hasattr(item, "bl_parent_id")]
    found = [item for item in found if "HIDE_HEADER" not in getattr(item, "bl_options", ())]
    with driver.override(name="UI"):
        return [item for item in found if not hasattr(item, "poll") or item.poll(bpy.context)]


def opened():
    """Return the names of the sub-panels that are open: those whose contents Blender has drawn."""
    drawn, draws = set(), {item: item.draw for item in panels()}

    def draw(self, context):
        drawn.add(self.bl_idname)
        draws[type(self)](self, context)

    for item in draws:
        item.draw = draw
    driver.region("VIEW_3D", "UI").tag_redraw()
    yield from driver.wait(0.2)
    for item, original in draws.items():
        item.draw = original
    return drawn


def toggle(name):
    """Open a sub-panel, or close it, with a click on its header, below Generate; return where the header is.

    On the way other headers may get a click; they get a second one, and their panels are as they were.
    """
    before = yield from opened()
    yield from scroll_to_top()
    side = driver.region("VIEW_3D", "UI")
    generate = yield from _look("espalier.generate", 0, slowly=False)
    # Where Generate is disabled it tells nothing; a click on the header of all would close them all.
    below = generate[1] if generate else side.y + side.height - HEADER
    place = yield from _look_for_header(name, before, below - 2 * STEP)
    while place is None and (yield from scroll(down=True)):
        side = driver.region("VIEW_3D", "UI")
        place = yield from _look_for_header(name, before, side.y + side.height - STEP)
    driver.check(place is not None, f"a click opens or closes {name}")
    return place


def _look_for_header(name, before, y):
    """Click on headers from `y` down until the panel is another one; return where that was, None where it is not."""
    x, bottom = driver.region("VIEW_3D", "UI").x + 60, driver.region("VIEW_3D", "UI").y + 10
    order = [item.bl_idname for item in panels()]
    while y > bottom:
        if not (yield from told(x, y, slowly=True)):
            yield from driver.click(x, y)
            changed = (yield from opened()) ^ before
            if name in changed:
                return x, y
            if changed:
                yield from driver.click(x, y)
                (other,) = changed
                if not before and order.index(other) < order.index(name):
                    y -= ROW * (order.index(name) - order.index(other)) - STEP
        y -= STEP
    return None
