# SPDX-License-Identifier: GPL-3.0-or-later
"""A rebuilt mesh takes the place of an object's own; all that is the object's stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from mathutils.bvhtree import BVHTree

from ...engine.errors import EspalierError
from ...engine.jobs.job import Job
from ...engine.mesh.layout import DESCRIPTION, level_folder
from ..languages import msgid
from .asset import discard_asset, import_folder, properties_of
from .importer import import_prepared
from .placement import seen_of, set_origin_to_base, view_layer_of, write_properties
from .stand_in import homes_of

SAMPLES = 2000
"""Vertices from which it is found out how the artist has moved the mesh within its object."""
STILL = 1e-4
"""How far, in sizes of the mesh, each of them may be off for the mesh to count as moved and not edited."""


def exchange_mesh(
    context: bpy.types.Context,
    job: Job,
    target: bpy.types.Object,
    before: Path,
    past: Mapping[str, Any] = MappingProxyType({}),
) -> list[str]:
    """Give `target` the mesh that `job` made; its transform, modifiers, slots, parents and animation stay.

    Returns what the old mesh carried, vertex by vertex, that the new one cannot have. `past` is noted on `target`
    besides what `job` was.

    `before` is the result folder of the mesh that `target` has now: where the artist has moved that mesh within the
    object, by applying a scale or setting an origin, the new one is moved alike. Slot 0 gets the new material unless
    it is linked to the object or has no image; other slots keep theirs, and faces the slot of the nearest old face.
    Raises EspalierError `asset_missing` or `import_failed`, with nothing changed.
    """
    if job.folder is None or not job.folder.is_dir():
        raise EspalierError("asset_missing", name=job.request.name)
    created = _load(context, job.folder, context.scene, job.request.name, _movement(target.data, before))
    old, new = target.data, created.data
    try:
        _keep_materials(target, old, new)
    except Exception:
        discard_asset(created)
        raise
    name, lost = old.name, _bound_to_vertices(target, old)
    target.data = new
    write_properties(target, {**properties_of(job), **past})
    created.data = old  # with which it takes leave, if the old mesh is nobody else's
    if old.users == 1:
        discard_asset(created)
        new.name = name
    else:
        bpy.data.objects.remove(created)
    return lost


def _bound_to_vertices(target: bpy.types.Object, mesh: bpy.types.Mesh) -> list[str]:
    """Return what the artist has added to `mesh` that is of its vertices."""
    found = {
        msgid("shape keys"): mesh.shape_keys is not None,
        msgid("vertex weights"): any(vertex.groups for vertex in mesh.vertices) if target.vertex_groups else False,
        msgid("color attributes"): bool(mesh.color_attributes),
    }
    return [name for name, is_there in found.items() if is_there]


def place_levels(
    context: bpy.types.Context, job: Job, levels: int, target: bpy.types.Object, before: Path, first: int = 0
) -> bpy.types.Collection:
    """Return a new collection, beside `target`, with an object for each level of `job`, from `first` on.

    They are where `target` is; all but level 0 are hidden. Where nothing beside it would be seen, or may be changed,
    the collection is the scene's own child.

    Raises EspalierError `asset_missing` or `import_failed`, with nothing left behind.
    """
    if job.folder is None or not job.folder.is_dir():
        raise EspalierError("asset_missing", name=job.request.name)
    movement = _movement(target.data, before)
    name = job.request.name
    made: list[bpy.types.Object] = []
    try:
        for level in range(first, levels):
            folder = level_folder(job.folder, level)
            made.append(_load(context, folder, context.scene, _level_name(job, level), movement))
    except EspalierError:
        for item in made:
            discard_asset(item)
        raise
    collection = bpy.data.collections.new(f"{name} LODs")
    scene = _scene_of(context, target)
    view_layer = view_layer_of(context, scene)
    homes = homes_of(target, [scene.collection, *scene.collection.children_recursive])
    seen_of(view_layer, scene, homes[:1])[0].children.link(collection)
    for level, item in enumerate(made, first):
        collection.objects.link(item)
        item.matrix_world = target.matrix_world
        mark_level(item, job, level)
        item.hide_set(level > 0, view_layer=view_layer)
        item.hide_render = level > 0
    return collection


def _scene_of(context: bpy.types.Context, target: bpy.types.Object) -> bpy.types.Scene:
    """Return the scene of `target` that new objects can go to, the open one where that is one or there is none."""
    known = [scene for scene in target.users_scene if scene.library is None]
    return known[0] if known and context.scene not in known else context.scene


def mark_level(target: bpy.types.Object, job: Job, level: int) -> None:
    """Let `target`, its mesh and its material be called after a level of `job`, and its properties tell the level."""
    write_properties(target, {**properties_of(job), "level": level})
    for block in (target, target.data, *target.data.materials):
        block.name = _level_name(job, level)


def _level_name(job: Job, level: int) -> str:
    return f"{job.request.name}_LOD{level}"


def _load(
    context: bpy.types.Context, folder: Path, scene: bpy.types.Scene, name: str, movement: Matrix | None
) -> bpy.types.Object:
    """Return a new object for a result folder, its mesh moved by `movement` or standing on its base."""
    if not (folder / "import" / DESCRIPTION).is_file():
        created = import_folder(context, folder, scene, name)
        if created.type != "MESH":
            discard_asset(created)
            raise EspalierError("import_failed", name=name, reason="it is more than one mesh")
        return created
    created = import_prepared(folder / "import", name)
    if movement is None:
        set_origin_to_base(created)
    else:
        created.data.transform(movement)
        created.data.update()
    return created


def _movement(mesh: bpy.types.Mesh, folder: Path) -> Matrix | None:
    """Return what takes the vertices in the result `folder`, turned to Blender's frame, to those of `mesh`.

    None where that is no affine map: the mesh was edited, or is not the one in the folder.
    """
    try:
        stored = np.load(folder / "import" / "position.npy", mmap_mode="r")
    except (OSError, ValueError):
        return None
    count = len(mesh.vertices)
    if stored.shape != (count, 3) or count < 4:
        return None
    chosen = np.unique(np.linspace(0, count - 1, SAMPLES).astype(int))
    now = np.empty((count, 3), np.float32)
    mesh.vertices.foreach_get("co", now.reshape(-1))
    start = np.asarray(stored[chosen], float)
    start = np.stack([start[:, 0], -start[:, 2], start[:, 1], np.ones(len(start))], axis=1)
    end = now[chosen].astype(float)
    found, _, rank, _ = np.linalg.lstsq(start, end, rcond=None)
    size = float(np.ptp(end, axis=0).max())
    if rank < 4 or not size > 0 or np.abs(start @ found - end).max() > STILL * size:
        return None
    return Matrix([*found.T.tolist(), [0.0, 0.0, 0.0, 1.0]])


def _keep_materials(target: bpy.types.Object, old: bpy.types.Mesh, new: bpy.types.Mesh) -> None:
    """Give `new` the slots that `target` has with its mesh `old`, and its faces the slots of the nearest old faces."""
    slots = [slot.link for slot in target.material_slots]
    if slots and slots[0] == "DATA" and old.materials[0] is not None and not _has_image(old.materials[0]):
        new.materials[0] = old.materials[0]
    for material in old.materials[1:]:
        new.materials.append(material)
    if len(old.materials) < 2:
        return
    index = np.zeros(len(old.polygons), np.int32)
    old.polygons.foreach_get("material_index", index)
    if index.any():
        corners = np.empty((len(old.vertices), 3), np.float32)
        old.vertices.foreach_get("co", corners.reshape(-1))
        tree = BVHTree.FromPolygons(corners.tolist(), [polygon.vertices[:] for polygon in old.polygons])
        nearest = [tree.find_nearest(polygon.center)[2] for polygon in new.polygons]
        new.polygons.foreach_set("material_index", index[[0 if face is None else face for face in nearest]])


def _has_image(material: bpy.types.Material) -> bool:
    tree = material.node_tree
    return tree is not None and any(getattr(node, "image", None) for node in tree.nodes)
