# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a finished asset goes: a snapshot when it is asked for, looked up again when it arrives.

Files are opened, things deleted and modes changed between the two, so the snapshot holds names and never references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from .scene.placement import read_properties

BUSY_MODALS = ("TRANSFORM_OT_", "MESH_OT_", "SCULPT_OT_", "PAINT_OT_", "OBJECT_OT_", "CURVE_OT_", "GREASE_PENCIL_OT_")
"""Prefixes of Blender's own modal operators that would be upset by an undo step in their middle."""


def snapshot(context: bpy.types.Context, file: str) -> dict[str, Any]:
    """Return where an asset that is asked for now is to appear, as plain data."""
    scene = context.scene
    layer = context.view_layer
    collection = layer.active_layer_collection.collection if layer else scene.collection
    return {
        "file": file,
        "blend": bpy.data.filepath,
        "scene": scene.name,
        "collection": "" if collection == scene.collection else collection.name,
        "location": list(scene.cursor.location),
    }


def aim(target: bpy.types.Object) -> dict[str, Any]:
    """Return, as plain data to add to a snapshot, that a rebuilt mesh is meant for `target`."""
    return {"object": target.name, "job": str(read_properties(target).get("job", ""))}


def target_of(placement: Mapping[str, Any]) -> bpy.types.Object | None:
    """Return the object that `aim` named, also under another name; None where it is gone or has another mesh now."""
    job = placement.get("job")
    if not job:
        return None
    candidates = [bpy.data.objects.get(placement.get("object", "")), *bpy.data.objects]
    for found in candidates:
        if found is not None and found.type == "MESH" and found.library is None and found.data.library is None:
            properties = read_properties(found)
            if properties.get("job") == job:
                return found
    return None


def belongs_here(placement: Mapping[str, Any], file: str) -> bool:
    """Tell whether the open .blend is the one that the asset was asked for in."""
    blend = placement.get("blend")
    return placement.get("file") == file or bool(blend and blend == bpy.data.filepath)


def scene_of(placement: Mapping[str, Any], context: bpy.types.Context) -> bpy.types.Scene:
    """Return the scene that the snapshot names, or the current one where it is gone."""
    return bpy.data.scenes.get(placement.get("scene", "")) or context.scene


def collection_of(placement: Mapping[str, Any], scene: bpy.types.Scene) -> bpy.types.Collection:
    """Return the collection that the snapshot names, or the scene's own where it is gone or not editable."""
    name = placement.get("collection", "")
    found = next((c for c in scene.collection.children_recursive if c.name == name and c.library is None), None)
    return found or scene.collection


def is_quiet() -> bool:
    """Tell whether an object may be added now: the artist is in object mode, and not in the middle of something."""
    manager = bpy.context.window_manager
    if manager is None or not manager.windows or bpy.app.is_job_running("RENDER"):
        return False
    for window in manager.windows:
        if any(modal.bl_idname.startswith(BUSY_MODALS) for modal in window.modal_operators):
            return False
        active = window.view_layer.objects.active
        if active is not None and active.mode != "OBJECT":
            return False
    return True
