# SPDX-License-Identifier: GPL-3.0-or-later
"""The Espalier tab: image, engine, Generate, progress, and the last error with its remedy."""

from __future__ import annotations

import bpy

from ..operators import session
from ..operators.languages import told
from ..operators.text import draw_error, draw_wrapped
from .cutout import draw_preview
from .forecast import draw_forecast
from .presets import ESPALIER_PT_presets
from .server import draw_cost, draw_limit
from .trellis2 import draw_readiness

CANCELLED = ("job_cancelled_there", "job_cancelled_late", "job_cancelled_blind")
"""What is told of jobs that the person has cancelled and that may be billed all the same."""


class SidebarPanel:
    """Where all panels of the extension live."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Espalier"


class ESPALIER_PT_main(SidebarPanel, bpy.types.Panel):
    """Choose an image and generate."""

    bl_idname = "ESPALIER_PT_main"
    bl_label = "Espalier"

    def draw_header_preset(self, _context: bpy.types.Context) -> None:
        """Draw the button of the presets."""
        ESPALIER_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings that every generation starts from."""
        layout = self.layout
        settings = context.scene.espalier
        image = settings.image
        row = layout.row(align=True)
        row.template_ID(settings, "image", open="image.open")
        row.operator("espalier.paste_image", text="", icon="PASTEDOWN")
        row.operator("espalier.use_render", text="", icon="RENDER_RESULT")
        row.operator("espalier.capture_viewport", text="", icon="RESTRICT_VIEW_OFF")
        if image is not None:
            draw_preview(layout, context, settings)

        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "engine")
        column.prop(settings, "resolution")
        draw_limit(column, settings, "resolution")
        row = column.row(align=True)
        row.prop(settings, "seed")
        row.operator("espalier.randomize_seed", text="", icon="FILE_REFRESH")
        column.prop(settings, "texture_size")
        draw_limit(column, settings, "texture_size")

        draw_forecast(layout, context, settings)
        draw_cost(layout, context, settings)
        draw_readiness(layout, context, settings)
        row = layout.row()
        row.scale_y = 1.6
        row.enabled = image is not None
        row.operator("espalier.generate", icon="MESH_MONKEY")
        if image is None:
            layout.label(text="Choose an image to start", icon="INFO")
        self._draw_notice(context)
        self._draw_error(context)

    def _draw_notice(self, context: bpy.types.Context) -> None:
        if session.session.notice:
            box = self.layout.box()
            row = box.row()
            draw_wrapped(row.column(align=True), context, told(session.session.notice))
            row.operator("espalier.dismiss", text="", icon="X", emboss=False).what = "notice"

    def _draw_error(self, context: bpy.types.Context) -> None:
        error = session.session.error
        if error is None:
            return
        box = self.layout.box()
        row = box.row()
        cancelled = error.code in CANCELLED
        row.alert = not cancelled
        row.label(text="Cancelled" if cancelled else "Not Generated", icon="INFO" if cancelled else "ERROR")
        row.operator("espalier.dismiss", text="", icon="X", emboss=False)
        column = box.column(align=True)
        draw_error(column, context, error)
        if session.session.error_job:
            box.operator("espalier.retry", icon="FILE_REFRESH").job = session.session.error_job
