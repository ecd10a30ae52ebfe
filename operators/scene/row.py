# SPDX-License-Identifier: GPL-3.0-or-later
"""Variations of one asset in a row of small previews, in a collection of their own, beside where one of them is to go.

What keeps a preview together with its row is on it: the group of its row, and where it goes if it is kept, as text.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy
from mathutils import Matrix, Vector

from .placement import PROPERTY, read_properties, write_properties
from .pose import Pose, extent, set_rotation

MARK = "espalier_variations"
"""Custom property of the row's collection: the group."""
GROUP, PLACEMENT = "variations", "placement"
"""Custom properties of a preview, in its group of properties; of one that was kept, only the first."""
SMALL = 0.4
"""How large a preview's longest side is, as a share of the place that the asset takes."""
PITCH = 1.25
"""From one preview to the next, in sizes of a preview."""
BESIDE = 1.1
"""From one kept variation to the next, in widths of the asset."""


def rows(scene: bpy.types.Scene) -> Iterator[bpy.types.Collection]:
    """Yield the collections of `scene` that are rows of variations. Quick, for drawing."""
    for collection in scene.collection.children_recursive:
        if MARK in collection:
            yield collection


def row_of(scene: bpy.types.Scene, group: str, name: str, home: bpy.types.Collection) -> bpy.types.Collection:
    """Return the collection of the row `group`, made inside `home` for variations of `name` where there is none."""
    found = next((row for row in rows(scene) if row[MARK] == group and row.library is None), None)
    if found is None:
        found = bpy.data.collections.new(f"Variations of {name}")
        found[MARK] = group
        home.children.link(found)
    return found


def is_preview(target: bpy.types.Object | None) -> bool:
    """Tell whether `target` is a variation that was neither kept nor discarded, and may be changed."""
    if target is None or target.library is not None or PROPERTY not in target:
        return False
    return PLACEMENT in read_properties(target)


def previews(row: bpy.types.Collection) -> list[bpy.types.Object]:
    """Return the variations of a row that are neither kept nor discarded, by seed."""
    found = [item for item in row.objects if is_preview(item)]
    return sorted(found, key=lambda item: (int(item[PROPERTY].get("seed", 0)), item.name))


def lay(target: bpy.types.Object, pose: Pose, size: float, index: int) -> None:
    """Let `target`, whose origin is the middle of its base, be the preview number `index` of the row beside `pose`.

    `size` is that of the place which a kept one takes.
    """
    low, high = extent(target)
    largest = max(*(high - low), 1e-9)
    step = SMALL * size * PITCH
    target.scale = (SMALL * size / largest,) * 3
    target.location = Vector(pose.location) + pose.across * (size / 2 + step * (index + 0.5))
    set_rotation(target, pose.rotation)


def mark(target: bpy.types.Object, group: str, placement: str) -> None:
    """Note on `target` of which row it is, and `placement`: where it goes if it is kept."""
    write_properties(target, {**read_properties(target), GROUP: group, PLACEMENT: placement})


def take_out(target: bpy.types.Object) -> tuple[str, str]:
    """Take a preview out of its row, without transform and collection as if it was new; return its group and placement.

    A row that is empty then goes.
    """
    properties = read_properties(target)
    group, placement = str(properties[GROUP]), str(properties.pop(PLACEMENT))
    write_properties(target, properties)
    homes = list(target.users_collection)
    for home in homes:
        for member in (target, *target.children_recursive):
            if member.name in home.objects:
                home.objects.unlink(member)
    target.matrix_basis = Matrix.Identity(4)
    remove_empty(homes)
    return group, placement


def remove_empty(homes: list[bpy.types.Collection]) -> None:
    """Remove those of `homes` that are rows with nothing left in them."""
    for home in homes:
        if MARK in home and not home.objects and not home.children and home.library is None:
            bpy.data.collections.remove(home)


def kept(group: str) -> list[bpy.types.Object]:
    """Return the variations of a row that were kept."""
    found = [item for item in bpy.data.objects if PROPERTY in item]
    return [i for i in found if (known := read_properties(i)).get(GROUP) == group and PLACEMENT not in known]


def width_across(target: bpy.types.Object, across: Vector) -> float:
    """Return how wide `target` and what hangs below it is along a direction of world space, as last updated."""
    family = [target, *target.children_recursive]
    along = [
        (item.matrix_world @ Vector(corner)).dot(across)
        for item in family
        if item.type == "MESH"
        for corner in item.bound_box
    ]
    return max(along, default=0.0) - min(along, default=0.0)
