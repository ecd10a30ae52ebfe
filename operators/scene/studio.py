# SPDX-License-Identifier: GPL-3.0-or-later
"""A photographer's studio of its own scene: backdrop, soft lights and a camera around an object."""

from __future__ import annotations

import math

import bpy
from mathutils import Vector

from .framing import Extent, frame
from .rollback import Rollback
from .world import build_world

_VIEW = Vector((0.55, -1.0, 0.42))
"""From the object to the camera: three quarters from the front (-Y), from a little above."""
_LENS_MM, _SENSOR_MM = 85.0, 36.0
_MARGIN = 0.84
"""Share of the picture's side that the object takes."""
_BACKDROP = (0.72, 0.72, 0.73)
_LIGHTS = (
    # name, direction to the light, watts for a radius of one meter, size in radii
    ("Key", (-1.3, -1.4, 1.9), 120.0, 2.4),
    ("Fill", (1.9, -1.0, 0.7), 30.0, 3.0),
    ("Rim", (0.9, 1.8, 1.6), 95.0, 1.6),
)


def build_studio(name: str, objects: list[bpy.types.Object], extent: Extent, rollback: Rollback) -> bpy.types.Scene:
    """Return a new scene that shows `objects` in a studio of the size of `extent`; the objects stay as they are."""
    scene = bpy.data.scenes.new(name)
    rollback.add(scene)
    for item in objects:
        scene.collection.objects.link(item)
    middle = (extent.low + extent.high) / 2
    floor = Vector((middle.x, middle.y, extent.low.z))
    scene.world = build_world(name, _BACKDROP, 0.38, rollback)
    _add_floor(scene, floor, extent.radius, rollback)
    for label, direction, watts, size in _LIGHTS:
        _add_light(scene, label, middle, Vector(direction), watts, size, extent.radius, rollback)
    _add_camera(scene, extent, rollback)
    return scene


def _add_floor(scene: bpy.types.Scene, center: Vector, radius: float, rollback: Rollback) -> None:
    """Add a floor that bends up into a wall behind the object, so that no horizon shows."""
    width, depth, bend, height = 40 * radius, 14 * radius, 6 * radius, 30 * radius
    profile = [(-30 * radius, 0.0), (depth - bend, 0.0)]
    for step in range(1, 25):
        angle = math.pi / 2 * step / 24
        profile.append((depth - bend + bend * math.sin(angle), bend - bend * math.cos(angle)))
    profile.append((depth, height))
    # Along the camera's view, so that the wall stands straight behind the object.
    away = Vector((-_VIEW.x, -_VIEW.y, 0.0)).normalized()
    aside = Vector((away.y, -away.x, 0.0))
    rows = [center + away * y + Vector((0.0, 0.0, z - 1e-3 * radius)) for y, z in profile]
    vertices = [row + aside * side for row in rows for side in (-width, width)]
    faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(rows) - 1)]
    mesh = bpy.data.meshes.new("Backdrop")
    rollback.add(mesh)
    mesh.from_pydata(vertices, [], faces)
    mesh.shade_smooth()
    mesh.materials.append(_floor_material(rollback))
    floor = bpy.data.objects.new("Backdrop", mesh)
    rollback.add(floor)
    scene.collection.objects.link(floor)


def _floor_material(rollback: Rollback) -> bpy.types.Material:
    material = bpy.data.materials.new("Backdrop")
    rollback.add(material)
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    diffuse = tree.nodes.new("ShaderNodeBsdfDiffuse")
    diffuse.inputs["Color"].default_value = (*_BACKDROP, 1.0)
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(output.inputs["Surface"], diffuse.outputs["BSDF"])
    return material


def _add_light(
    scene: bpy.types.Scene,
    label: str,
    middle: Vector,
    direction: Vector,
    watts: float,
    size: float,
    radius: float,
    rollback: Rollback,
) -> None:
    light = bpy.data.lights.new(label, "AREA")
    rollback.add(light)
    light.shape = "DISK"
    light.size = size * radius
    light.energy = watts * radius * radius  # the same brightness at any size
    holder = bpy.data.objects.new(label, light)
    rollback.add(holder)
    holder.location = middle + direction * (1.6 * radius)
    holder.rotation_euler = direction.to_track_quat("Z", "Y").to_euler()
    scene.collection.objects.link(holder)


def _add_camera(scene: bpy.types.Scene, extent: Extent, rollback: Rollback) -> None:
    camera = bpy.data.cameras.new("Preview")
    rollback.add(camera)
    camera.lens, camera.sensor_width = _LENS_MM, _SENSOR_MM
    holder = bpy.data.objects.new("Preview", camera)
    rollback.add(holder)
    holder.matrix_world = frame(extent.points, _VIEW, _SENSOR_MM / 2 / _LENS_MM * _MARGIN)
    distance = (holder.location - (extent.low + extent.high) / 2).length
    camera.clip_start = max(distance - 3 * extent.radius, distance * 1e-3)
    camera.clip_end = distance + 100 * extent.radius
    scene.collection.objects.link(holder)
    scene.camera = holder
