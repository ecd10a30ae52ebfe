# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own glTF importer, for files that are not of the kind that we prepare."""

from __future__ import annotations

from pathlib import Path

import bpy
from mathutils import Matrix, Vector

from ...engine.errors import EspalierError
from .rollback import Rollback


def import_stock(context: bpy.types.Context, glb: Path, scene: bpy.types.Scene, name: str) -> bpy.types.Object:
    """Return a new object called `name`, in no collection, with all that the file `glb` holds.

    A single mesh is returned itself, its transform applied; of several objects an empty at the middle of their base
    is the parent. Selection and active object stay as they were. Nothing stays behind on failure.
    Raises EspalierError `asset_missing` or `import_failed`.
    """
    if not glb.is_file():
        raise EspalierError("asset_missing", name=name)
    with Rollback(watch=True) as rollback:
        selection = _Selection(context)
        try:
            # Without temp_override, also from a timer: see session.py.
            result = bpy.ops.import_scene.gltf("EXEC_DEFAULT", filepath=str(glb))
        except RuntimeError as error:
            reason = "Blender's glTF importer refused it"
            raise EspalierError("import_failed", detail=str(error), name=name, reason=reason) from error
        finally:
            selection.restore()
        objects = [block for block in rollback.made() if isinstance(block, bpy.types.Object)]
        meshes = [item for item in objects if item.type == "MESH"]
        if "FINISHED" not in result or not meshes:
            raise EspalierError("import_failed", name=name, reason="its file holds no mesh")
        _unlink(objects, rollback)
        if len(objects) == 1 and not objects[0].animation_data:
            return _only_mesh(objects[0], name)
        return _gathered(objects, meshes, name)


class _Selection:
    """What is selected and active now, to be had again after an operator changed it."""

    def __init__(self, context: bpy.types.Context) -> None:
        self._view_layer = context.view_layer
        self._selected = list(self._view_layer.objects.selected)
        self._active = self._view_layer.objects.active

    def restore(self) -> None:
        for item in self._view_layer.objects.selected[:]:
            item.select_set(False, view_layer=self._view_layer)
        for item in self._selected:
            item.select_set(True, view_layer=self._view_layer)
        self._view_layer.objects.active = self._active


def _unlink(objects: list[bpy.types.Object], rollback: Rollback) -> None:
    """Take the new objects out of every collection, and remove those collections that came with them."""
    for item in objects:
        for collection in item.users_collection:
            collection.objects.unlink(item)
    made = [block for block in rollback.made() if isinstance(block, bpy.types.Collection)]
    bpy.data.batch_remove([collection for collection in made if not collection.all_objects])


def _only_mesh(single: bpy.types.Object, name: str) -> bpy.types.Object:
    single.data.transform(single.matrix_basis)
    if single.matrix_basis.determinant() < 0.0:
        single.data.flip_normals()
    single.matrix_basis = Matrix.Identity(4)
    single.name = single.data.name = name
    return single


def _gathered(objects: list[bpy.types.Object], meshes: list[bpy.types.Object], name: str) -> bpy.types.Object:
    """Return an empty, at the middle of the base of `meshes`, that is the parent of all `objects`."""
    points = [_world(item) @ Vector(corner) for item in meshes for corner in item.bound_box]
    low = Vector(map(min, zip(*points, strict=True)))
    high = Vector(map(max, zip(*points, strict=True)))
    base = Vector(((low.x + high.x) / 2, (low.y + high.y) / 2, low.z))
    parent = bpy.data.objects.new(name, None)
    parent.empty_display_size = max((high - low).length / 4, 1e-3)
    for item in objects:
        if item.parent is None:
            item.parent = parent
            item.matrix_parent_inverse = Matrix.Translation(-base)
    return parent


def _world(item: bpy.types.Object) -> Matrix:
    """Return the world matrix of `item`, which the dependency graph has not computed yet."""
    if item.parent is None:
        return item.matrix_basis
    return _world(item.parent) @ item.matrix_parent_inverse @ item.matrix_basis
