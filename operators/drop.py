# SPDX-License-Identifier: GPL-3.0-or-later
"""Image files that are dropped onto a 3D viewport or the outliner: each becomes a job, placed where it was dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from mathutils import Vector

from ..engine.errors import EspalierError
from . import picking, placing, pricing, session, trellis2
from . import placement_settings as settings
from .generate import BILLED, request_for
from .image import READABLE
from .languages import say

SPACING = 1.25
"""From one asset of a row to the next, in widths of the cube that it comes in."""
EDITORS = ("VIEW_3D", "OUTLINER")


def row_direction(context: bpy.types.Context) -> Vector:
    """Return along which axis of the world a row goes: the one that runs most to the right in the view, else X."""
    view = context.region_data
    if not isinstance(view, bpy.types.RegionView3D):
        return Vector((1.0, 0.0, 0.0))
    right = view.view_rotation @ Vector((1.0, 0.0, 0.0))
    if abs(right.x) >= abs(right.y):
        return Vector((1.0 if right.x >= 0 else -1.0, 0.0, 0.0))
    return Vector((0.0, 1.0 if right.y > 0 else -1.0, 0.0))


class ESPALIER_OT_drop_images(bpy.types.Operator):
    """Turn image files into textured objects, in a row where there are several"""

    bl_idname = "espalier.drop_images"
    bl_label = "Generate 3D"
    # Not undoable: it submits jobs; the imports that follow are the undo steps.
    bl_options = {"REGISTER"}

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    filepath: bpy.props.StringProperty(name="Image File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    location: bpy.props.FloatVectorProperty(
        name="Location",
        description="Where the first of them goes, in world space; the 3D cursor where none is given",
        subtype="TRANSLATION",
        options={"SKIP_SAVE"},
    )
    normal: picking.NORMAL_PROPERTY
    direction: bpy.props.FloatVectorProperty(
        name="Direction",
        description="Which way the row of several goes",
        subtype="DIRECTION",
        default=(1.0, 0.0, 0.0),
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Tell beforehand what the engine lacks."""
        return trellis2.may_generate(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take the place under the mouse; ask first where all of them cost more than may be spent unasked."""
        found = picking.under_mouse(context, event)
        if found is not None and not self.properties.is_property_set("location"):
            self.location, self.normal = found["place"], found["normal"]
            self.direction = row_direction(context)
        chosen = context.scene.espalier
        price = pricing.price(chosen.engine, chosen.resolution, len(self._paths()))
        if pricing.to_ask(price):
            return pricing.confirm(self, context, event, price, BILLED)
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit a job for each file and return at once; in the background, wait until all are in the scene."""
        chosen = context.scene.espalier
        paths = self._paths()
        jobs: list[str] = []
        try:
            if not paths:
                raise EspalierError("image_none")
            values = chosen.values()
            for number, path in enumerate(paths):
                request, told = request_for(chosen.engine, values, path)
                jobs.append(session.submit(request, context, self._placement(context, number), told))
            for job in jobs if bpy.app.background else ():
                session.finish(job)
        except EspalierError as error:
            return session.refuse(self, error)
        if len(jobs) > 1:
            self.report({"INFO"}, say("{count} images are in the queue", count=len(jobs)))
        return {"FINISHED"}

    def _paths(self) -> list[Path]:
        """Return the dropped image files in the order in which they came, each once; those of other kinds are left."""
        named = [Path(self.directory, each.name) for each in self.files if each.name]
        if not named and self.filepath:
            named = [Path(self.filepath)]
        paths = dict.fromkeys(Path(bpy.path.abspath(str(path))) for path in named)
        return [path for path in paths if path.suffix.lower() in READABLE]

    def _placement(self, context: bpy.types.Context, number: int) -> dict[str, Any]:
        """Return where the asset of that `number` goes."""
        pointed = self.properties.is_property_set("location")
        known = {"location": tuple(self.location), "normal": tuple(self.normal)} if pointed else {}
        # Never in place of the selected object, which several could not be.
        placement = placing.snapshot(context, session.session.file, where=settings.CURSOR, **known)
        along = Vector(self.direction).normalized() * (number * SPACING * max(1.0, placement["height"]))
        placement["location"] = list(Vector(placement["location"]) + along)
        return placement


class ESPALIER_FH_images(bpy.types.FileHandler):
    """Image files over a 3D viewport or the outliner; Blender's own ways of taking them stay beside it."""

    bl_idname = "ESPALIER_FH_images"
    bl_label = "Generate 3D with Espalier"
    bl_import_operator = "espalier.drop_images"
    bl_file_extensions = ";".join(sorted(READABLE))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Tell whether files may be dropped here."""
        return context.area is not None and context.area.type in EDITORS


OPERATORS = (ESPALIER_OT_drop_images,)
HANDLERS = (ESPALIER_FH_images,)
