# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a finished asset goes: a snapshot when it is asked for, looked up again when it arrives.

Files are opened, things deleted and modes changed between the two, so the snapshot holds names and never references.
It is plain data, for it is kept with the job over a restart; what it lacks, in one of an older version, is the default.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import bpy
from mathutils import Matrix, Vector

from ..engine.errors import EspalierError
from . import placement_settings as settings
from .languages import say
from .scene import placement as scene_placement
from .scene.placement import read_properties
from .scene.pose import Pose, strike
from .scene.stand_in import Box, box_of, has_box, hide, homes_of, take_place
from .viewing import UP, turn_to_viewer

BUSY_MODALS = ("TRANSFORM_OT_", "MESH_OT_", "SCULPT_OT_", "PAINT_OT_", "OBJECT_OT_", "CURVE_OT_", "GREASE_PENCIL_OT_")
"""Prefixes of Blender's own modal operators that would be upset by an undo step in their middle."""
TURNS = {"NEG_Y": 0.0, "POS_Y": math.pi, "POS_X": math.pi / 2, "NEG_X": -math.pi / 2}
"""Which way the front faces -> the turn about Z from facing -Y, in radians."""


def snapshot(
    context: bpy.types.Context,
    file: str,
    *,
    where: str = "",
    location: Sequence[float] | None = None,
    normal: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return where an asset that is asked for now is to appear, as plain data.

    That is what the person has chosen under Placement, or `where`, one of `placement_settings.PLACES`; or, with
    `location`, on the surface at that point of world space, which has that `normal`. Raises EspalierError
    `placement_no_object`.
    """
    chosen = settings.chosen()
    scene = context.scene
    if where == settings.STAND_IN or (not where and location is None and chosen.where == settings.STAND_IN):
        stand_in, place = _stand_in(context, file, chosen.stretch)
    else:
        stand_in, place = None, Vector(location or scene.cursor.location)
        if location is None and (where or chosen.where) == settings.WORLD:
            place = Vector()
    found: dict[str, Any] = {
        "file": file,
        "blend": bpy.data.filepath,
        "scene": scene.name,
        "collection": _wanted_collection(context),
        "location": list(place),
        "up": list(normal) if normal is not None and chosen.align else list(UP),
        "turn": _turn(context, chosen.facing, place, stand_in),
        "height": chosen.height_m if chosen.use_height else 0.0,
        "centered": chosen.origin == settings.CENTER,
        "stands": location is not None,
        "selection": selection(context.view_layer),
    }
    return {**found, "stand_in": stand_in} if stand_in else found


def selection(view_layer: bpy.types.ViewLayer | None) -> str:
    """Return a short text that is another one once other objects are selected or active; empty without a view layer."""
    if view_layer is None:
        return ""
    active = view_layer.objects.active
    names = [active.name_full if active else "", *sorted(item.name_full for item in view_layer.objects.selected)]
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]


def _wanted_collection(context: bpy.types.Context) -> str:
    """Return the name of the collection that new objects go to, empty for the scene's own."""
    scene, layer = context.scene, context.view_layer
    wanted = scene.espalier.collection
    if wanted is None or wanted not in scene.collection.children_recursive:
        wanted = layer.active_layer_collection.collection if layer else scene.collection
    return "" if wanted == scene.collection else wanted.name


def _stand_in(context: bpy.types.Context, file: str, stretch: bool) -> tuple[dict[str, Any], Vector]:
    target = context.object
    if not has_box(target) or not target.select_get():
        raise EspalierError("placement_no_object")
    box = box_of(target, context.evaluated_depsgraph_get())
    known = {
        "name": target.name,
        "uid": target.session_uid,
        "file": file,
        "matrix": [value for row in box.matrix for value in row],
        "low": list(box.low),
        "high": list(box.high),
        "stretch": stretch,
    }
    return known, box.base


def _turn(context: bpy.types.Context, facing: str, place: Vector, stand_in: Mapping[str, Any] | None) -> float:
    """Return the turn about the up direction, in radians; in place of an object, from that object's own front."""
    if facing != settings.TOWARDS_VIEW:
        return TURNS[facing]
    turn = turn_to_viewer(context, place)
    if stand_in is not None:
        turn -= _matrix(stand_in["matrix"]).to_euler().z
    return turn


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
    """Return the scene that the snapshot names, the current one where it is gone, or one that no other file owns."""
    own = [scene for scene in bpy.data.scenes if scene.library is None]
    named = next((scene for scene in own if scene.name == placement.get("scene")), None)
    return named or (context.scene if context.scene in own else own[0])


def collection_of(placement: Mapping[str, Any], scene: bpy.types.Scene) -> bpy.types.Collection:
    """Return the collection that the snapshot names, or the scene's own where it is gone or not editable."""
    name = placement.get("collection", "")
    found = next((c for c in scene.collection.children_recursive if c.name == name and c.library is None), None)
    return found or scene.collection


def pose_of(placement: Mapping[str, Any], scene: bpy.types.Scene) -> Pose:
    """Return how the asset stands in `scene`, by its unit scale; one in place of an object stands on that's base."""
    up = Vector(placement.get("up", UP))
    return Pose(
        location=Vector(placement.get("location", scene.cursor.location)),
        up=up.normalized() if up.length > 0.0 else UP.copy(),
        turn=float(placement.get("turn", 0.0)),
        height=float(placement.get("height", 0.0)) / scene.unit_settings.scale_length,
        centered=bool(placement.get("centered", False)),
        stands=bool(placement.get("stands", False)),
    )


def stand_in_of(
    placement: Mapping[str, Any], context: bpy.types.Context, file: str
) -> tuple[Box, bpy.types.Object | None] | None:
    """Return the box that the asset is to fill, as it is now, and the object whose it is; None where it is for none.

    Of an object that is gone it is the box that it had when the asset was asked for.
    """
    known = placement.get("stand_in")
    if not known:
        return None
    found = None
    if known.get("file") == file:  # also under another name
        found = next((item for item in bpy.data.objects if item.session_uid == known["uid"]), None)
    else:
        found = bpy.data.objects.get(known["name"])
    low, high = Vector(known["low"]), Vector(known["high"])
    if found is None or not has_box(found) or not found.users_scene:
        return Box(_matrix(known["matrix"]), low, high), None
    if not found.visible_get():  # Blender computes no modifiers of what it does not show
        return Box(found.matrix_world.copy(), low, high), found
    return box_of(found, context.evaluated_depsgraph_get()), found


def _matrix(values: Sequence[float]) -> Matrix:
    return Matrix([values[start : start + 4] for start in (0, 4, 8, 12)])


def arrange(
    context: bpy.types.Context,
    target: bpy.types.Object,
    placement: Mapping[str, Any],
    scene: bpy.types.Scene,
    file: str,
    beside: Vector | None = None,
    select: bool = True,
) -> str:
    """Put `target`, new and in no collection, where the snapshot says, `beside` it by that much; return what to tell.

    With `select` it is selected and active alone, as `scene.placement.show` describes.
    """
    collection = collection_of(placement, scene)
    pose = pose_of(placement, scene)
    place = stand_in_of(placement, context, file)
    if place is None:
        strike(target, pose)
        scene_placement.place(context, target, scene, collection, target.location + (beside or Vector()), select)
        return ""
    box, old = place
    view_layer = scene_placement.view_layer_of(context, scene)
    homes = homes_of(old, [scene.collection, *scene.collection.children_recursive]) if old else []
    scene_placement.link(target, scene_placement.seen_of(view_layer, scene, homes or [collection]))
    take_place(
        target, box.shifted(beside or Vector()), old, view_layer, pose.turn, bool(placement["stand_in"]["stretch"])
    )
    told = ""
    if old is not None:
        hidden = hide(old, view_layer)
        told = say("{name} is hidden", name=old.name) if hidden else say("{name} stays as it is", name=old.name)
    scene_placement.show(context, target, view_layer, select)
    return told


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
