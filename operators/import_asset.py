# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a finished asset into the scene, as one undo step."""

from __future__ import annotations

import bpy

from ..engine.errors import EspalierError
from . import placing, session
from .scene.asset import place_asset


class ESPALIER_OT_import_asset(bpy.types.Operator):
    """Place this finished asset in the scene"""

    bl_idname = "espalier.import_asset"
    bl_label = "Import"
    bl_options = {"REGISTER", "UNDO"}

    job: bpy.props.StringProperty(name="Job", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import where the job was asked for; elsewhere, at this scene's 3D cursor."""
        try:
            queue = session.session.open_queue()
            job = queue.job(self.job)
            placement = dict(job.placement)
            if not placing.belongs_here(placement, session.session.file):
                placement = placing.snapshot(context, session.session.file)
            scene = placing.scene_of(placement, context)
            collection = placing.collection_of(placement, scene)
            location = placement.get("location", scene.cursor.location)
            created = place_asset(context, job, scene, collection, location)
        except EspalierError as error:
            session.fail(error, self.job)
            session.hold(self.job)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        queue.mark_imported(self.job)
        session.watch()
        session.redraw()
        self.report({"INFO"}, f"{created.name}: {len(created.data.polygons):,} faces")
        return {"FINISHED"}
