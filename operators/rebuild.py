# SPDX-License-Identifier: GPL-3.0-or-later
"""Another mesh for an asset that is already in the scene, without generating it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ..engine.errors import EspalierError
from ..engine.parameters import REBUILD_SETTINGS
from ..engine.request import REBUILD, RebuildRequest
from . import placing, session
from .former import library_folder
from .languages import say
from .placement_settings import CURSOR
from .scene.placement import read_properties
from .settings import LODS_PROPERTY, add_parameters, plain_value


def rebuildable(target: bpy.types.Object | None) -> bool:
    """Tell whether `target` is a mesh that Espalier made. Quick, for drawing: the files are not looked at."""
    return target is not None and target.type == "MESH" and bool(read_properties(target).get("job"))


def source_of(target: bpy.types.Object) -> Path:
    """Return the GLB that a rebuild of `target` starts from: the asset as it was generated, however often rebuilt.

    Raises EspalierError `asset_not_ours` or `asset_missing`.
    """
    properties = read_properties(target)
    job = properties.get("job")
    if target.type != "MESH" or not job:
        raise EspalierError("asset_not_ours", name=target.name)
    original = Path(str(properties.get("source", "")))
    if properties.get("engine") == REBUILD and original.is_file():
        return original
    path = library_folder(str(job)) / "asset.glb"
    if not path.is_file():
        raise EspalierError("asset_missing", name=properties.get("name", target.name))
    return path


class ESPALIER_OT_rebuild(bpy.types.Operator):
    """Remesh, decimate, unwrap and bake this asset again with the settings below. Blender stays usable meanwhile"""

    bl_idname = "espalier.rebuild"
    bl_label = "Rebuild Mesh"
    # Not undoable: it submits a job; the exchange that follows is the undo step.
    bl_options = {"REGISTER"}

    lods: LODS_PROPERTY

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Ask for an object that Espalier made."""
        if rebuildable(context.object):
            return True
        cls.poll_message_set(say("Select an object that Espalier has placed in the scene"))
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit and return at once; in background mode wait until the mesh is exchanged."""
        try:
            target = context.object
            where = {**placing.snapshot(context, session.session.file, where=CURSOR), **placing.aim(target)}
            job = session.submit(self._request(context, target), context, where)
            if bpy.app.background:
                session.finish(job)
        except EspalierError as error:
            return session.refuse(self, error)
        return {"FINISHED"}

    def _request(self, context: bpy.types.Context, target: bpy.types.Object) -> RebuildRequest:
        """Return the scene's settings, with what was set on the operator itself in their place."""
        settings = context.scene.espalier
        values: dict[str, Any] = {}
        for parameter in REBUILD_SETTINGS:
            given = self.properties.is_property_set(parameter.name)
            values[parameter.name] = plain_value(self if given else settings, parameter)
        text = self.lods if self.properties.is_property_set("lods") else settings.lods
        lods = [part for part in text.split(",") if part.strip()]
        name = str(read_properties(target).get("name", "")) or target.name
        return RebuildRequest.create(source_of(target), values, lods, name)


add_parameters(ESPALIER_OT_rebuild, with_updates=False, table=REBUILD_SETTINGS, options={"SKIP_SAVE"})
