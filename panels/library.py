# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with an asset of the library, in the menus of the Asset Browser."""

from __future__ import annotations

import bpy

from ..operators.library_operators import job_at_hand

MENUS = ("ASSETBROWSER_MT_context_menu", "ASSETBROWSER_MT_editor_menus")
OPERATORS = (
    ("espalier.use_settings", "COPYDOWN"),
    ("espalier.regenerate", "FILE_REFRESH"),
    ("espalier.reveal", "FILE_FOLDER"),
)


class ESPALIER_MT_asset(bpy.types.Menu):
    """The menu Espalier in the header of the Asset Browser."""

    bl_idname = "ESPALIER_MT_asset"
    bl_label = "Espalier"

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw what can be done with the chosen asset."""
        for operator, icon in OPERATORS:
            self.layout.operator(operator, icon=icon)


def _draw_context_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    if job_at_hand(context):
        self.layout.separator()
        for operator, icon in OPERATORS:
            self.layout.operator(operator, icon=icon)


def _draw_header(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    if getattr(context, "asset", None) is not None and job_at_hand(context):
        self.layout.menu(ESPALIER_MT_asset.bl_idname)


_DRAWN = tuple(zip(MENUS, (_draw_context_menu, _draw_header), strict=True))


def register() -> None:
    """Add to the menus of the Asset Browser."""
    for menu, draw in _DRAWN:
        getattr(bpy.types, menu).append(draw)


def unregister() -> None:
    """Leave them as they were."""
    for menu, draw in _DRAWN:
        getattr(bpy.types, menu).remove(draw)
