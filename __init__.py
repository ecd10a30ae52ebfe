# SPDX-License-Identifier: GPL-3.0-or-later
"""Espalier: one image becomes a textured PBR mesh in the scene."""


def register() -> None:
    """Add everything to Blender. Sub-packages are imported here, so that a disabled extension costs nothing."""
    from . import operators, panels

    operators.register()
    panels.register()


def unregister() -> None:
    """Take everything out of Blender again, in reverse."""
    from . import operators, panels

    panels.unregister()
    operators.unregister()
