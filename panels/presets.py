# SPDX-License-Identifier: GPL-3.0-or-later
"""The presets, behind the button in the header of the panel, as everywhere in Blender."""

from __future__ import annotations

import bpy
from bl_ui.utils import PresetPanel

from ..operators import presets


class ESPALIER_PT_presets(PresetPanel, bpy.types.Panel):
    """Choose a preset, save one, remove one of your own."""

    bl_idname = presets.MENU
    bl_label = "Espalier Presets"
    preset_subdir = presets.SUBFOLDER
    preset_operator = presets.ESPALIER_OT_apply_preset.bl_idname
    preset_add_operator = presets.ESPALIER_OT_preset_add.bl_idname
