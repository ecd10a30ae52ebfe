# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender's own exporter writes can be rebuilt: monkeys whole, cut open, joined, of many materials and of none."""

from __future__ import annotations

from pathlib import Path

import bmesh
import bpy
import numpy as np
import pytest
from mathutils import Matrix

from tests.support.baking import pattern
from tests.support.render import psnr

pytestmark = pytest.mark.once

TARGET = 10_000
COLORS = {"Red": (0.8, 0.05, 0.05), "Green": (0.05, 0.6, 0.1), "Blue": (0.1, 0.2, 0.9)}
"""Base colors, linear."""


def material(
    name: str, color: tuple[float, float, float] = (1.0, 1.0, 1.0), metallic: float = 0.0
) -> bpy.types.Material:
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*color, 1.0)
    shader.inputs["Metallic"].default_value = metallic
    shader.inputs["Roughness"].default_value = 0.4
    return made


def textured(name: str = "Textured") -> bpy.types.Material:
    """Return a material with an image of smooth stripes."""
    made = material(name)
    across = np.arange(256) / 256
    pixels = np.ones((256, 256, 4), np.float32)
    pixels[..., 0] = 0.5 + 0.4 * np.sin(2 * np.pi * 3 * across)
    pixels[..., 1] = 0.5 + 0.4 * np.cos(2 * np.pi * 2 * across)[:, None]
    pixels[..., 2] = 0.3
    image = bpy.data.images.new(name, 256, 256)
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    tree = made.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return made


def monkey(
    *materials: bpy.types.Material, levels: int = 2, at: tuple[float, float, float] = (0, 0, 0)
) -> bpy.types.Object:
    """Add a smooth, subdivided monkey."""
    bpy.ops.mesh.primitive_monkey_add(size=1.0, location=at)
    made = bpy.context.object
    for one in materials:
        made.data.materials.append(one)
    modifier = made.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels = modifier.render_levels = levels
    bpy.ops.object.modifier_apply(modifier="Subdivision")
    bpy.ops.object.shade_smooth()
    return made


def edited(made: bpy.types.Object) -> bmesh.types.BMesh:
    editing = bmesh.new()
    editing.from_mesh(made.data)
    return editing


def whole() -> None:
    monkey(textured())


def cut_open() -> None:
    """The upper part of the head is gone."""
    made = monkey(textured())
    editing = edited(made)
    everything = [*editing.verts, *editing.edges, *editing.faces]
    bmesh.ops.bisect_plane(editing, geom=everything, plane_co=(0, 0, 0.1), plane_no=(0, 0.2, 1), clear_outer=True)
    editing.to_mesh(made.data)
    editing.free()


def crossing() -> None:
    """Two monkeys that go through each other, one of them mirrored by its node."""
    monkey(material("Red", COLORS["Red"]))
    other = monkey(material("Green", COLORS["Green"]), at=(0.45, 0.1, 0.1))
    other.scale = (-0.8, 0.8, 0.8)
    other.rotation_euler = (0.2, 0.4, 0.6)


def not_manifold() -> None:
    """Two monkeys as one mesh, with fins on some edges and faces that are there twice."""
    blue = material("Blue", COLORS["Blue"])
    first = monkey(blue)
    monkey(blue, at=(0.3, 0.0, 0.2))
    first.select_set(True)
    bpy.context.view_layer.objects.active = first
    bpy.ops.object.join()
    editing = edited(first)
    editing.faces.ensure_lookup_table()
    for face in list(editing.faces)[::200]:
        edge = face.edges[0]
        tip = editing.verts.new(edge.verts[0].co + face.normal * 0.05)
        editing.faces.new((edge.verts[0], edge.verts[1], tip))
        copies = [editing.verts.new(corner.co) for corner in face.verts]
        editing.faces.new(copies)
    editing.to_mesh(first.data)
    editing.free()


def many_materials() -> None:
    made = monkey(*(material(name, color, number / 2) for number, (name, color) in enumerate(COLORS.items())))
    for polygon in made.data.polygons:
        polygon.material_index = 0 if polygon.center.x > 0.15 else 1 if polygon.center.x < -0.15 else 2


def vertex_colors() -> None:
    paint = material("Paint")
    tree = paint.node_tree
    node = tree.nodes.new("ShaderNodeVertexColor")
    node.layer_name = "Paint"
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    made = monkey(paint)
    layer = made.data.color_attributes.new("Paint", "FLOAT_COLOR", "POINT")
    points = np.array([vertex.co for vertex in made.data.vertices])
    layer.data.foreach_set("color", np.concatenate([pattern(points), np.ones((len(points), 1))], axis=1).ravel())


def no_uvs() -> None:
    made = monkey(material("Red", COLORS["Red"]), textured())
    for polygon in made.data.polygons:
        polygon.material_index = int(polygon.center.x > 0)
    made.data.uv_layers.remove(made.data.uv_layers[0])


def a_scene() -> None:
    """All kinds of things beside the mesh."""
    made = monkey(textured(), levels=1)
    made.shape_key_add(name="Basis")
    made.shape_key_add(name="Wide").data[0].co.x += 1
    parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.matrix_world = Matrix.Translation((1, 2, 3)) @ Matrix.Rotation(0.5, 4, "Y")
    made.parent = parent
    parent.keyframe_insert("location", frame=1)
    parent.location.x += 1
    parent.keyframe_insert("location", frame=20)
    bpy.context.scene.frame_set(1)
    bpy.ops.object.camera_add()
    bpy.ops.object.light_add()
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=5, location=(1, 2, 4))
    bpy.context.object.data.materials.append(material("Green", COLORS["Green"]))


def truth() -> tuple[np.ndarray, np.ndarray]:
    """Return the centers of faces of one plain color, in glTF's frame (N, 3), and those colors (N, 3)."""
    places, colors = [], []
    for made in bpy.context.scene.objects:
        if made.type != "MESH":
            continue
        for polygon in made.data.polygons:
            slot = made.material_slots[polygon.material_index].material
            if slot.name in COLORS:
                at = made.matrix_world @ polygon.center
                places.append((at.x, at.z, -at.y))
                colors.append(COLORS[slot.name])
    return np.array(places).reshape(-1, 3), np.array(colors).reshape(-1, 3)


SCENES = {
    "whole": (whole, False, ()),
    "cut open": (cut_open, False, ()),
    "crossing": (crossing, False, ()),
    "not manifold": (not_manifold, False, ()),
    "not manifold, remeshed": (not_manifold, True, ()),
    "many materials": (many_materials, False, ()),
    "vertex colors": (vertex_colors, False, ()),
    "no UVs": (no_uvs, False, ("Textures of a mesh without the UV map for them were left out.",)),
    "a scene": (
        a_scene,
        False,
        ("Animations were left out.", "Cameras were left out.", "Lights were left out.", "Shape keys were left out."),
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_rebuilt_export_looks_as_it_did(espalier, name: str, tmp_path: Path) -> None:
    build, remesh, left_out = SCENES[name]
    build()
    bpy.context.view_layer.update()
    places, colors = truth()
    source = tmp_path / "source.glb"
    bpy.ops.export_scene.gltf(filepath=str(source), export_cameras=True, export_lights=True)
    module = espalier.module
    backend = module("engine.backends.rebuild").create()
    values = {"remesh": remesh, "resolution": "512", "texture_size": "1024", "decimation_target": TARGET}
    request = module("engine.request").RebuildRequest.create(source, values)
    (tmp_path / "out").mkdir()
    run = module("engine.progress").Run(backend.stages, lambda progress: None)
    asset = backend.generate(request, tmp_path / "out", run)
    assert set(left_out) == set(asset.notices)
    assert asset.facts["faces"] <= 1.05 * TARGET

    parts, _ = module("engine.mesh.glb_parts").read_parts(source)
    before = module("engine.mesh.parts").assemble(parts)
    mesh, made = module("engine.mesh.glb").read_glb(asset.glb)
    Look = module("engine.mesh.sample").MaterialAppearance
    after = Look(made, mesh.positions, mesh.faces, mesh.uvs)
    old = before.appearance or Look(before.material, before.mesh.positions, before.mesh.faces, before.mesh.uvs)
    Surface = module("engine.mesh.closest").Surface
    seen = colors_at(Surface, mesh, after, mesh_points(mesh))
    meant = colors_at(Surface, before.mesh, old, mesh_points(mesh))
    assert psnr(np.sqrt(seen), np.sqrt(meant)) >= 32, "what it looks like"
    if len(places) and not remesh and name != "no UVs":
        found = colors_at(Surface, mesh, after, places)
        assert np.mean(np.abs(found - colors).max(axis=1) < 0.02) > 0.97, "the colors that Blender has there"


def mesh_points(mesh) -> np.ndarray:
    """Return a place on each face."""
    return mesh.positions[mesh.faces].astype(np.float64).mean(axis=1)


def colors_at(surface, mesh, look, points: np.ndarray) -> np.ndarray:
    hits = surface(mesh.positions, mesh.faces).closest(points)
    footprint = np.full(len(points), 1e-9, np.float32)
    look.prepare(hits.face, footprint, None)
    return look.sample(hits.face, hits.weights, points, footprint)["base_color"]
