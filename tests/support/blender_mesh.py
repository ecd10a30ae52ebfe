# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting arrays into Blender and looking at them there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from PIL import Image


def make_mesh(positions: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray, name: str = "Mesh") -> Any:
    """Return a smooth-shaded Blender mesh; `corner_uvs` (F, 3, 2) as Blender has them, V up."""
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(positions))
    mesh.vertices.foreach_set("co", np.asarray(positions, dtype=np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", np.asarray(faces, dtype=np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(len(faces), dtype=np.int32) * 3)
    mesh.update(calc_edges=True)
    mesh.shade_smooth()
    layer = mesh.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", np.asarray(corner_uvs, dtype=np.float32).ravel())
    return mesh


def corner_arrays(mesh: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return normals (F, 3, 3), tangents (F, 3, 3) and bitangent signs (F, 3) as Blender calculates them."""
    mesh.calc_tangents(uvmap="UVMap")
    count = len(mesh.loops)
    normals, tangents = np.empty(count * 3, np.float32), np.empty(count * 3, np.float32)
    signs = np.empty(count, np.float32)
    mesh.loops.foreach_get("normal", normals)
    mesh.loops.foreach_get("tangent", tangents)
    mesh.loops.foreach_get("bitangent_sign", signs)
    return normals.reshape(-1, 3, 3), tangents.reshape(-1, 3, 3), signs.reshape(-1, 3)


def image_node(tree: Any, pixels: np.ndarray, color_space: str, folder: Path) -> Any:
    """Add `pixels` uint8 (H, W, 3) as a packed image to a node tree."""
    path = folder / "image.png"
    Image.fromarray(pixels).save(path)
    image = bpy.data.images.load(str(path))
    image.pack()
    image.colorspace_settings.name = color_space
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image, node.extension = image, "EXTEND"
    return node


def material_of(images: dict[str, np.ndarray]) -> Any:
    """Return a material with the baked `base_color` and, where there are any, `normal` and `metallic_roughness`.

    With the last it emits its metallic, which Cycles can bake no other way.
    """
    material = bpy.data.materials.new("Baked")
    material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    shader.inputs["Roughness"].default_value = 1.0
    with tempfile.TemporaryDirectory() as folder:
        color = image_node(tree, images["base_color"], "sRGB", Path(folder))
        tree.links.new(color.outputs["Color"], shader.inputs["Base Color"])
        if "metallic_roughness" in images:
            both = image_node(tree, images["metallic_roughness"], "Non-Color", Path(folder))
            channels = tree.nodes.new("ShaderNodeSeparateColor")
            tree.links.new(both.outputs["Color"], channels.inputs["Color"])
            tree.links.new(channels.outputs["Green"], shader.inputs["Roughness"])
            tree.links.new(channels.outputs["Blue"], shader.inputs["Metallic"])
            tree.links.new(channels.outputs["Blue"], shader.inputs["Emission Color"])
            shader.inputs["Emission Strength"].default_value = 1.0
        if "normal" in images:
            relief = image_node(tree, images["normal"], "Non-Color", Path(folder))
            node = tree.nodes.new("ShaderNodeNormalMap")
            node.uv_map = "UVMap"
            tree.links.new(relief.outputs["Color"], node.inputs["Color"])
            tree.links.new(node.outputs["Normal"], shader.inputs["Normal"])
    return material


def cycles_render(mesh: Any, direction: np.ndarray, size: int = 256, samples: int = 16) -> np.ndarray:
    """Return what Cycles shows of `mesh` along -`direction`, float (size, size, 3), lit by one lamp without shadows."""
    from mathutils import Vector

    scene = bpy.data.scenes.new("Look")
    try:
        scene.collection.objects.link(bpy.data.objects.new("Subject", mesh))
        camera = bpy.data.cameras.new("Camera")
        camera.type, camera.ortho_scale = "ORTHO", 1.1
        eye = bpy.data.objects.new("Camera", camera)
        eye.location = Vector(direction) * 4
        eye.rotation_euler = Vector(direction).to_track_quat("Z", "Y").to_euler()
        lamp = bpy.data.lights.new("Sun", "SUN")
        lamp.energy, lamp.use_shadow = 3.0, False
        sun = bpy.data.objects.new("Sun", lamp)
        sun.rotation_euler = (Vector(direction) + Vector((0.2, 0.25, 0.3))).to_track_quat("Z", "Y").to_euler()
        for item in (eye, sun):
            scene.collection.objects.link(item)
        scene.camera = eye
        scene.render.engine = "CYCLES"
        scene.cycles.samples, scene.cycles.seed, scene.cycles.use_denoising = samples, 1, False
        scene.render.resolution_x = scene.render.resolution_y = size
        scene.view_settings.view_transform = "Standard"
        scene.render.image_settings.file_format = "PNG"
        with tempfile.TemporaryDirectory() as folder:
            scene.render.filepath = str(Path(folder) / "look.png")
            bpy.ops.render.render(write_still=True, scene=scene.name)
            with Image.open(scene.render.filepath) as image:
                return np.asarray(image.convert("RGB")) / 255.0
    finally:
        bpy.data.scenes.remove(scene)
