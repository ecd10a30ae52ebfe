# SPDX-License-Identifier: GPL-3.0-or-later
"""What a 3D viewport looks at: the surface under the mouse, and where whoever looks at it stands."""

from __future__ import annotations

import math

import bpy
from bpy_extras import view3d_utils
from mathutils import Vector
from mathutils.geometry import intersect_line_plane

UP = Vector((0.0, 0.0, 1.0))
MOST_PASSED = 64
"""Surfaces that are looked through, because they are not to be seen in the viewport, before the ray is given up."""
STEP = 1e-4
"""How far behind such a surface the ray goes on, as a share of the distance."""
THROUGH = {"WIRE", "BOUNDS"}
"""Display types of objects that a person looks through."""


def viewport_at(window: bpy.types.Window, x: int, y: int) -> tuple[bpy.types.Area, bpy.types.Region] | None:
    """Return the 3D viewport, and its main region, at the pixel (`x`, `y`) of `window`; None beside all of them."""
    for area in window.screen.areas:
        if area.type != "VIEW_3D":
            continue
        covering = [region for region in area.regions if _covers(region, x, y)]
        if len(covering) == 1 and covering[0].type == "WINDOW":  # not below the sidebar or the header
            return area, covering[0]
    return None


def _covers(region: bpy.types.Region, x: int, y: int) -> bool:
    inside = region.x <= x < region.x + region.width and region.y <= y < region.y + region.height
    return inside and region.width > 1 and region.height > 1


def surface_at(
    context: bpy.types.Context, space: bpy.types.SpaceView3D, region: bpy.types.Region, pixel: tuple[float, float]
) -> tuple[Vector, Vector]:
    """Return the point, and its normal, that `pixel` of a 3D viewport's main `region` shows, in world space.

    Objects that the viewport does not show, or only as wires, do not count. Where there is nothing, it is the point
    of the floor (Z = 0); where that is not to be seen, the point as far away as the 3D cursor; the normal is up then.
    """
    view = region.data or space.region_3d  # the former tells the views of a quad view apart
    start = view3d_utils.region_2d_to_origin_3d(region, view, pixel)
    direction = view3d_utils.region_2d_to_vector_3d(region, view, pixel)
    hit = _seen_surface(context, space, start, direction)
    if hit is not None:
        point, normal = hit
        return point, normal if normal.dot(direction) <= 0.0 else -normal
    floor = intersect_line_plane(start, start + direction, Vector(), UP)
    if floor is not None:
        away = (floor - start).dot(direction)
        if (away > space.clip_start or not view.is_perspective) and abs(away) < space.clip_end:
            return floor, UP.copy()
    depth = context.scene.cursor.location
    return view3d_utils.region_2d_to_location_3d(region, view, pixel, depth), UP.copy()


def _seen_surface(
    context: bpy.types.Context, space: bpy.types.SpaceView3D, start: Vector, direction: Vector
) -> tuple[Vector, Vector] | None:
    graph = context.evaluated_depsgraph_get()
    shown = context.view_layer.objects
    begin = start
    for _ in range(MOST_PASSED):
        found, point, normal, _index, hit, _matrix = context.scene.ray_cast(graph, begin, direction)
        if not found:
            return None
        original = shown.get(hit.name)  # None for what an instance brings along
        # Only the evaluated object knows whether it is in the local view.
        seen = original is None or original.evaluated_get(graph).visible_in_viewport_get(space)
        if seen and hit.display_type not in THROUGH:
            return point, normal
        begin = point + direction * max(STEP * (point - start).length, 1e-6)
    return None


def turn_to_viewer(context: bpy.types.Context, place: Vector) -> float:
    """Return by how much what faces -Y must be turned about Z, in radians, to face whoever looks at `place`.

    From above or below, the front faces the lower edge of the viewport. 0 where there is no 3D viewport.
    """
    view = _view_of(context)
    if view is None:
        return 0.0
    toward = view.view_rotation @ UP
    if view.is_perspective:
        eye = view.view_matrix.inverted().translation
        toward = (eye - place).normalized()
    if math.hypot(toward.x, toward.y) < 0.1:
        toward = view.view_rotation @ Vector((0.0, -1.0, 0.0))
    return math.atan2(toward.x, -toward.y)


def _view_of(context: bpy.types.Context) -> bpy.types.RegionView3D | None:
    """Return the view of the 3D viewport that `context` is in, else of the largest one."""
    if isinstance(context.space_data, bpy.types.SpaceView3D) and context.space_data.region_3d is not None:
        return context.space_data.region_3d
    windows = context.window_manager.windows if context.window_manager else ()
    areas = [area for window in windows for area in window.screen.areas if area.type == "VIEW_3D"]
    largest = max(areas, key=lambda area: area.width * area.height, default=None)
    return largest.spaces.active.region_3d if largest is not None else None
