# SPDX-License-Identifier: GPL-3.0-or-later
"""Espalier: one image becomes a textured PBR mesh in the scene."""

import gc


def register() -> None:
    """Add everything to Blender. Sub-packages are imported here, so that a disabled extension costs nothing."""
    # Nothing of a module is garbage, and looking for some goes through all of Blender's objects: a third of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        from . import operators, panels

        operators.register()
        panels.register()
    finally:
        if collects:
            gc.enable()


def unregister() -> None:
    """Take everything out of Blender again, in reverse."""
    from . import operators, panels

    panels.unregister()
    operators.unregister()
