# SPDX-License-Identifier: GPL-3.0-or-later
"""Several seeds of one image: how many, what they cost together, and the rows that wait for a choice."""

from __future__ import annotations

import bpy

from ..operators import account, pricing
from ..operators.languages import say
from ..operators.scene import row as rows
from .sidebar import ESPALIER_PT_main, SidebarPanel

MOST_ROWS = 4


class ESPALIER_PT_variations(SidebarPanel, bpy.types.Panel):
    """Generate variations, keep some, discard the others."""

    bl_idname = "ESPALIER_PT_variations"
    bl_label = "Variations"
    bl_parent_id = ESPALIER_PT_main.bl_idname
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the number, the price, the button, and each row of this scene."""
        settings = context.scene.espalier
        layout = self.layout
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "variations", text="Seeds")
        if settings.engine == account.ENGINE:
            price = pricing.price(settings.engine, settings.resolution, settings.variations)
            if price is None:
                column.label(text="Price not told by the server", icon="INFO")
            else:
                whole = say("{price} for all", price=pricing.dollars(price))
                column.label(text=whole, icon="INFO", translate=False)
        line = layout.row()
        line.enabled = settings.image is not None
        line.operator("espalier.generate_variations", icon="DUPLICATE")
        known = list(rows.rows(context.scene))
        for collection in known[:MOST_ROWS]:
            _draw_row(layout, collection)
        if len(known) > MOST_ROWS:
            layout.label(text=say("and {count} more rows", count=len(known) - MOST_ROWS), translate=False)


def _draw_row(layout: bpy.types.UILayout, collection: bpy.types.Collection) -> None:
    box = layout.box()
    head = box.row()
    head.label(text=collection.name, icon="OUTLINER_COLLECTION", translate=False)
    column = box.column(align=True)
    for item in rows.previews(collection):
        line = column.row(align=True)
        seed = item[rows.PROPERTY].get("seed", "")
        line.label(text=say("Seed {seed}", seed=seed), icon="MESH_DATA", translate=False)
        line.operator("espalier.keep_variation", icon="CHECKMARK").target = item.name
        line.operator("espalier.discard_variation", text="", icon="X").target = item.name
    box.operator("espalier.discard_row", icon="TRASH").group = collection[rows.MARK]
