# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting a new object where it was asked for: standing on its base, selected and active alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import bpy
from mathutils import Matrix, Vector

PROPERTY = "espalier"
"""Custom property of an asset: a group of the request and of what made it, with one flat key for each."""


def set_origin_to_base(target: bpy.types.Object) -> None:
    """Move the mesh of `target` so that the middle of its base, the lowest point's height, is the origin."""
    corners = [Vector(corner) for corner in target.bound_box]
    low = Vector(map(min, zip(*corners, strict=True)))
    high = Vector(map(max, zip(*corners, strict=True)))
    base = Vector(((low.x + high.x) / 2, (low.y + high.y) / 2, low.z))
    target.data.transform(Matrix.Translation(-base))
    target.data.update()


def place(
    context: bpy.types.Context,
    target: bpy.types.Object,
    scene: bpy.types.Scene,
    collection: bpy.types.Collection | None = None,
    location: Sequence[float] | None = None,
    select: bool = True,
) -> None:
    """Link `target` and what hangs below it into `scene` and move it to `location`; with `select`, select it alone.

    `collection` is one of the scene's, by default the active one; where nothing in it would be seen, or it may not be
    changed, the scene's own takes its place. `location` is in world space, by default the 3D cursor.

    An artist who is in another mode than object mode (sculpting, say) keeps selection and active object, because
    taking them away would end that work.
    """
    view_layer = view_layer_of(context, scene)
    link(target, [_visible_collection(view_layer, scene, collection)])
    target.location = Vector(location) if location is not None else scene.cursor.location
    view_layer.update()
    show(context, target, view_layer, select)


def link(target: bpy.types.Object, homes: Iterable[bpy.types.Collection]) -> None:
    """Link `target` and what hangs below it into `homes`."""
    for home in homes:
        for member in (target, *target.children_recursive):
            home.objects.link(member)


def show(
    context: bpy.types.Context, target: bpy.types.Object, view_layer: bpy.types.ViewLayer, select: bool = True
) -> None:
    """Let `target` be seen in local views too and, with `select`, be selected and active alone, as `place` does."""
    _show_in_local_view(context, view_layer, [target, *target.children_recursive])
    active = view_layer.objects.active
    if select and (active is None or active.mode == "OBJECT"):
        for other in view_layer.objects.selected[:]:
            other.select_set(False, view_layer=view_layer)
        target.select_set(True, view_layer=view_layer)
        view_layer.objects.active = target


def seen_of(
    view_layer: bpy.types.ViewLayer, scene: bpy.types.Scene, homes: Sequence[bpy.types.Collection]
) -> list[bpy.types.Collection]:
    """Return `homes` where an object in one of them can be seen in `view_layer`, else the scene's own collection."""
    seen = [home for home in homes if _visible_collection(view_layer, scene, home) == home]
    return list(homes) if seen else [scene.collection]


def view_layer_of(context: bpy.types.Context, scene: bpy.types.Scene) -> bpy.types.ViewLayer:
    """Return the view layer of `scene` that a person sees, the first where none is shown."""
    if context.scene == scene and context.view_layer is not None:
        return context.view_layer
    shown = (w.view_layer for w in context.window_manager.windows if w.scene == scene)
    return next(shown, scene.view_layers[0])


def _visible_collection(
    view_layer: bpy.types.ViewLayer, scene: bpy.types.Scene, wanted: bpy.types.Collection | None
) -> bpy.types.Collection:
    if wanted is None:
        wanted = view_layer.active_layer_collection.collection
    layers = [view_layer.layer_collection]
    while layers:
        layer = layers.pop()
        if layer.exclude or not layer.is_visible:
            continue
        if layer.collection == wanted and wanted.library is None and wanted.override_library is None:
            return wanted
        layers.extend(layer.children)
    return scene.collection


def _show_in_local_view(
    context: bpy.types.Context, view_layer: bpy.types.ViewLayer, family: Iterable[bpy.types.Object]
) -> None:
    """Add the objects to the local view of every 3D viewport that has one, else they would not be seen."""
    for window in context.window_manager.windows:
        if window.view_layer != view_layer:
            continue
        for area in window.screen.areas:
            space = area.spaces.active
            if area.type == "VIEW_3D" and space.local_view is not None:
                for member in family:
                    member.local_view_set(space, True)


def write_properties(target: bpy.types.Object, properties: Mapping[str, Any]) -> None:
    """Store `properties`, plain flat data, on `target` as the custom property group `espalier`."""
    target[PROPERTY] = dict(properties)


def read_properties(target: bpy.types.Object) -> dict[str, Any]:
    """Return what `write_properties` stored on `target`, empty for an object that is not ours."""
    group = target.get(PROPERTY)
    return dict(group.to_dict()) if hasattr(group, "to_dict") else {}
