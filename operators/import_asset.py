# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a finished asset into the scene, as one undo step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from ..engine.errors import EspalierError
from ..engine.jobs.job import Job
from ..engine.request import RebuildRequest
from . import placing, session
from .rebuild import library_folder
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
            target = placing.target_of(placement)
            if target is None:
                scene = placing.scene_of(placement, context)
                collection = placing.collection_of(placement, scene)
                location = placement.get("location", scene.cursor.location)
                told = self._tell(place_asset(context, job, scene, collection, location))
            else:
                told = self._rebuilt(context, job, target, placement)
        except EspalierError as error:
            session.fail(error, self.job)
            session.hold(self.job)
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        queue.mark_imported(self.job)
        session.watch()
        session.redraw()
        self.report({"INFO"}, told)
        return {"FINISHED"}

    @staticmethod
    def _tell(made: bpy.types.Object) -> str:
        return f"{made.name}: {len(made.data.polygons):,} faces"

    def _rebuilt(
        self, context: bpy.types.Context, job: Job, target: bpy.types.Object, placement: Mapping[str, Any]
    ) -> str:
        """Bring a rebuilt mesh into `target`, or its levels of detail into a collection; return what to tell."""
        from .scene.exchange import exchange_mesh, place_levels  # NumPy, for which enabling must not wait

        before = library_folder(str(placement["job"]))
        if isinstance(job.request, RebuildRequest) and job.request.lods:
            made = place_levels(context, job, len(job.request.lods), target, before)
            return f"{made.name}: {len(made.objects)} levels"
        lost = exchange_mesh(context, job, target, before)
        if lost:
            self.report({"WARNING"}, f"The {' and '.join(lost)} did not fit the new mesh. Undo brings them back")
        return self._tell(target)
