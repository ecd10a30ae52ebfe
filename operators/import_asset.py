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
from .former import compared, history, library_folder
from .languages import msgid, say
from .scene.asset import place_asset
from .scene.placement import view_layer_of
from .text import listed
from .variations import VARIATIONS, place_preview


class ESPALIER_OT_import_asset(bpy.types.Operator):
    """Place this finished asset in the scene"""

    bl_idname = "espalier.import_asset"
    bl_label = "Import"
    bl_options = {"REGISTER", "UNDO"}

    job: bpy.props.StringProperty(name="Job", options={"SKIP_SAVE", "HIDDEN"})
    unasked: bpy.props.BoolProperty(
        name="Unasked",
        description="It comes by itself: who has selected something else meanwhile keeps that",
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import where the job was asked for; elsewhere, where a new asset would go in this file."""
        try:
            queue = session.session.open_queue()
            job = queue.job(self.job)
            placement = dict(job.placement)
            if not placing.belongs_here(placement, session.session.file):
                row = {name: placement[name] for name in (VARIATIONS,) if name in placement}
                placement = {**placing.snapshot(context, session.session.file), **row}
            target = placing.target_of(placement)
            told = self._placed(context, job, placement) if target is None else ""
            if target is not None:
                told = self._rebuilt(context, job, target, placement)
        except EspalierError as error:
            return self._failed(error)
        except Exception:  # whatever Blender refuses: told once, and no other job waits for it
            return self._failed(session.unexpected(msgid("an asset could not be placed")))
        queue.mark_imported(self.job)
        session.watch()
        session.redraw()
        self.report({"INFO"}, told)
        return {"FINISHED"}

    def _failed(self, error: EspalierError) -> set[str]:
        """Let the job wait for the person, and say why."""
        session.hold(self.job)
        return session.refuse(self, error, self.job)

    def _placed(self, context: bpy.types.Context, job: Job, placement: Mapping[str, Any]) -> str:
        """Bring a new asset to its place, or as a preview into its row; return what to tell."""
        scene = placing.scene_of(placement, context)
        told, view_layer = "", view_layer_of(context, scene)
        select = not self.unasked or session.is_waited_for(placement, placing.selection(view_layer))

        def arrange(created: bpy.types.Object) -> None:
            nonlocal told
            if VARIATIONS in placement:
                place_preview(context, created, placement, scene)
            else:
                told = placing.arrange(context, created, placement, scene, session.session.file, select=select)

        made = place_asset(context, job, scene, arrange=arrange)
        if select:
            session.session.selection = placing.selection(view_layer)
        name = made.name
        if made.type == "MESH":
            name = say("{name}: {count} faces", name=made.name, count=f"{len(made.data.polygons):,}")
        return say("{first}. {second}", first=name, second=told) if told else name

    def _rebuilt(
        self, context: bpy.types.Context, job: Job, target: bpy.types.Object, placement: Mapping[str, Any]
    ) -> str:
        """Bring a rebuilt mesh into `target`, or its levels of detail into a collection; return what to tell."""
        from .scene.exchange import exchange_mesh, place_levels  # NumPy, for which enabling must not wait

        before = library_folder(str(placement["job"]))
        if isinstance(job.request, RebuildRequest) and job.request.lods:
            made = place_levels(context, job, len(job.request.lods), target, before)
            return say("{name}: {count} levels", name=made.name, count=len(made.objects))
        lost = exchange_mesh(context, job, target, before, history(target, job))
        if lost:
            parts = listed([say(part) for part in lost])
            self.report({"WARNING"}, say("The {parts} did not fit the new mesh. Undo brings them back", parts=parts))
        facts = [say("{label} {value}", label=label, value=value) for label, value in compared(target)]
        return say("{label}: {value}", label=target.name, value="; ".join(facts))
