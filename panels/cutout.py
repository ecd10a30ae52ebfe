# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine will see of the image, and how that is chosen and painted."""

from __future__ import annotations

import bpy

from ..operators import cutout
from ..operators.cutout_settings import FOUND, mask_of
from ..operators.languages import say, sentence
from ..operators.text import draw_wrapped

SCALE = 8.0


def draw_preview(layout: bpy.types.UILayout, context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> None:
    """Draw the cut-out as the engine will see it, or the image alone until it is made; then how it is chosen."""
    state = cutout.state
    shown = cutout.is_shown(settings)
    icon = state.icon if shown and state.icon else layout.icon(settings.image)
    layout.template_icon(icon_value=icon, scale=SCALE)
    line = layout.row()
    row = line.row()
    if state.waiting:
        row.label(text="Cutting Out...", icon="TIME")
    elif not shown:
        row.label(text="Image, Not Cut Out Yet", icon="IMAGE_DATA")
    elif state.error is not None:
        row.alert = True
        row.label(text="Not Cut Out", icon="ERROR")
    else:
        row.label(text=say(FOUND[state.note["how"]], model=state.note["model"]), icon="HIDE_OFF", translate=False)
    line.operator("espalier.show_cutout", text="", icon="FILE_REFRESH", emboss=False)
    if shown and state.error is not None and not state.waiting:
        draw_wrapped(layout.column(align=True), context, sentence(state.error))
    header, body = layout.panel("espalier_cutout", default_closed=True)
    header.label(text="Cut-Out")
    if body is not None:
        _draw_choices(body, settings)


def _draw_choices(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.prop(settings, "preprocess_image", text="Keep as It Is", invert_checkbox=True)
    column = column.column()
    column.enabled = settings.preprocess_image
    mask = mask_of(settings)
    row = column.row()
    row.enabled = mask is None
    row.prop(settings.cutout, "background")
    column.prop(settings.cutout, "threshold")
    row = column.row(align=True)
    row.operator("espalier.edit_mask", icon="BRUSH_DATA")
    if mask is not None:
        row.operator("espalier.discard_mask", text="", icon="X")


class ESPALIER_PT_mask(bpy.types.Panel):
    """How the mask is painted, beside it."""

    bl_idname = "ESPALIER_PT_mask"
    bl_label = "Mask"
    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Espalier"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show the panel beside the mask alone."""
        mask = mask_of(context.scene.espalier)
        return mask is not None and context.space_data.image == mask

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the two ways of Blender's brush that matter here."""
        layout = self.layout
        brush = context.tool_settings.image_paint.brush
        if context.space_data.mode != "PAINT":
            layout.label(text="Choose the mode Paint", icon="INFO")
        elif brush is None:
            layout.label(text="Choose a brush", icon="INFO")
        else:
            column = layout.column(align=True)
            column.prop_enum(brush, "blend", "ERASE_ALPHA", text="Erase")
            column.prop_enum(brush, "blend", "ADD_ALPHA", text="Restore")
        state = cutout.state
        if cutout.is_shown(context.scene.espalier) and state.icon:
            layout.template_icon(icon_value=state.icon, scale=SCALE)
        layout.operator("espalier.discard_mask", icon="X")
