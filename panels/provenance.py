# SPDX-License-Identifier: GPL-3.0-or-later
"""What the active object was made from and how, in the sidebar and in the object's properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import bpy

from ..engine import provenance
from ..operators import pricing
from ..operators.languages import msgid, say
from ..operators.rebuild import rebuildable
from ..operators.scene.placement import read_properties
from .sidebar import ESPALIER_PT_main, SidebarPanel

LABELS = 0.4


def facts(account: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield, label and value, what is to be told of an asset; parameters only where they differ from the default.

    Labels are in English, values as they are shown.
    """
    before = provenance.generation(account)
    image = str(before.get("image", ""))
    if image:
        yield msgid("Image"), provenance.file_name(image)
    if before.get("engine"):
        yield msgid("Engine"), say(provenance.engine_label(str(before["engine"])))
    for name, label in (("model", msgid("Model")), ("seed", msgid("Seed"))):
        if before.get(name) not in (None, ""):
            yield label, str(before[name])
    for parameter, value in provenance.changed(before):
        yield parameter.label, say(provenance.value_words(parameter, value))
    if isinstance(before.get("cost_usd"), (int, float)):
        yield msgid("Cost"), pricing.dollars(before["cost_usd"])
    if before.get(provenance.MADE):
        yield msgid("Made"), _date(before[provenance.MADE])
    if provenance.is_rebuilt(account):
        yield msgid("Rebuilt"), _date(account.get(provenance.MADE, ""))
        levels = account.get("lods", ())
        if len(levels):
            yield msgid("Levels"), ", ".join(f"{int(level):,}" for level in levels)
        for parameter, value in provenance.changed(account):
            yield parameter.label, say(provenance.value_words(parameter, value))


def _date(text: object) -> str:
    day, _, time = str(text).partition("T")
    return f"{day} {time[:5]} UTC" if time else day


def _draw(self: bpy.types.Panel, context: bpy.types.Context) -> None:
    """Draw what the object carries; no file is looked at."""
    layout = self.layout
    column = layout.column(align=True)
    for label, value in facts(read_properties(context.object)):
        split = column.split(factor=LABELS)
        left = split.row()
        left.alignment = "RIGHT"
        left.label(text=say(label), translate=False)
        split.label(text=value, translate=False)
    column = layout.column(align=True)
    column.operator("espalier.use_settings", text="Copy Settings to Panel", icon="COPYDOWN")
    column.operator("espalier.regenerate", icon="FILE_REFRESH")
    column.operator("espalier.reveal", icon="FILE_FOLDER")


class _MadeWith:
    bl_label = "Made With"
    bl_options = {"DEFAULT_CLOSED"}

    draw = _draw

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it for what Espalier has made."""
        return rebuildable(context.object) or bool(context.object and read_properties(context.object).get("job"))


class ESPALIER_PT_made_with(_MadeWith, SidebarPanel, bpy.types.Panel):
    """Made With, in the Espalier tab."""

    bl_idname = "ESPALIER_PT_made_with"
    bl_parent_id = ESPALIER_PT_main.bl_idname


class ESPALIER_PT_made_with_properties(_MadeWith, bpy.types.Panel):
    """Made With, among the properties of the object."""

    bl_idname = "ESPALIER_PT_made_with_properties"
    bl_label = "Espalier: Made With"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "object"


PANELS = (ESPALIER_PT_made_with, ESPALIER_PT_made_with_properties)
