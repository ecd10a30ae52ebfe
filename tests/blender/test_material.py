# SPDX-License-Identifier: GPL-3.0-or-later
"""The material's wiring, for every combination that glTF's metallic-roughness model offers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.support import extension
from tests.support.meshes import cube, encoded_image


@pytest.fixture(autouse=True)
def _empty(empty_scene: None) -> None:
    """Each test has an empty scene."""


def build(tmp_path: Path, textures: Mapping[str, dict[str, Any]] | None = None, **fields: Any) -> bpy.types.Material:
    """Write a GLB with this material, prepare and import it, and return the material."""
    g = extension.module("engine.mesh.glb")
    for seed, (role, options) in enumerate((textures or {}).items()):
        image = {key: options[key] for key in options if key == "alpha"}
        sampler = {key: options[key] for key in options if key != "alpha"}
        fields[role] = g.Texture(encoded_image(8, "PNG", seed, **image), "image/png", **sampler)
    positions, faces, normals, uvs = cube()
    g.write_glb(tmp_path / "a.glb", g.Mesh(positions, faces, normals, uvs), g.Material(**fields))
    extension.module("engine.mesh.prepare").prepare(tmp_path / "a.glb", tmp_path / "import")
    created = extension.module("operators.scene.importer").import_prepared(tmp_path / "import", "Chair")
    material: bpy.types.Material = created.active_material
    return material


def surface(material: bpy.types.Material) -> bpy.types.Node:
    (node,) = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    return node


def source(socket: bpy.types.NodeSocket) -> tuple[bpy.types.Node, str]:
    """Return what feeds `socket`: the node, and the name of its output."""
    (link,) = socket.links
    return link.from_node, link.from_socket.name


ALL = {role: {} for role in ("base_color", "metallic_roughness", "normal", "occlusion", "emissive")}


def test_base_color_and_metallic_roughness(tmp_path: Path) -> None:
    material = build(tmp_path, {"base_color": {}, "metallic_roughness": {}})
    node = surface(material)
    texture, output = source(node.inputs["Base Color"])
    assert (texture.type, output, texture.image.colorspace_settings.name) == ("TEX_IMAGE", "Color", "sRGB")
    for name, channel in (("Roughness", "Green"), ("Metallic", "Blue")):
        split, output = source(node.inputs[name])
        assert (split.type, output) == ("SEPARATE_COLOR", channel)
        assert split.mode == "RGB"
        texture, _ = source(split.inputs["Color"])
        assert texture.image.colorspace_settings.name == "Non-Color"
    assert not node.inputs["Alpha"].is_linked
    assert node.inputs["Alpha"].default_value == 1.0
    output_node = next(n for n in material.node_tree.nodes if n.type == "OUTPUT_MATERIAL")
    assert source(output_node.inputs["Surface"])[0] == node
    assert material.name == "Chair"
    assert len(material.node_tree.nodes) == 5
    assert {image.name for image in bpy.data.images} >= {"Chair Base Color", "Chair Metallic Roughness"}


def test_factors_without_textures(tmp_path: Path) -> None:
    node = surface(build(tmp_path, base_color_factor=(0.1, 0.2, 0.3, 0.4), metallic_factor=0.25, roughness_factor=0.75))
    assert list(node.inputs["Base Color"].default_value) == pytest.approx([0.1, 0.2, 0.3, 1.0])
    assert node.inputs["Metallic"].default_value == 0.25
    assert node.inputs["Roughness"].default_value == 0.75
    assert node.inputs["Alpha"].default_value == 1.0, "an opaque material ignores alpha"


def test_factors_multiply_textures(tmp_path: Path) -> None:
    node = surface(
        build(
            tmp_path,
            {"base_color": {}, "metallic_roughness": {}},
            base_color_factor=(0.5, 1.0, 0.25, 1.0),
            metallic_factor=0.5,
        )
    )
    mix, _ = source(node.inputs["Base Color"])
    assert (mix.type, mix.data_type, mix.blend_type) == ("MIX", "RGBA", "MULTIPLY")
    live = [socket for socket in mix.inputs if socket.enabled]
    assert live[0].default_value == 1.0
    assert source(live[1])[0].type == "TEX_IMAGE"
    assert list(live[2].default_value) == pytest.approx([0.5, 1.0, 0.25, 1.0])
    times, _ = source(node.inputs["Metallic"])
    assert (times.type, times.operation, times.inputs[1].default_value) == ("MATH", "MULTIPLY", 0.5)
    assert source(node.inputs["Roughness"])[0].type == "SEPARATE_COLOR", "a factor of one is not wired"


def test_normal_map(tmp_path: Path) -> None:
    material = build(tmp_path, {"normal": {}}, normal_scale=0.5)
    node, _ = source(surface(material).inputs["Normal"])
    assert (node.type, node.space, node.uv_map) == ("NORMAL_MAP", "TANGENT", "UVMap")
    assert node.inputs["Strength"].default_value == 0.5
    assert source(node.inputs["Color"])[0].image.colorspace_settings.name == "Non-Color"


def test_emission(tmp_path: Path) -> None:
    node = surface(build(tmp_path, {"emissive": {}}, emissive_factor=(1.0, 1.0, 1.0)))
    texture, _ = source(node.inputs["Emission Color"])
    assert texture.image.colorspace_settings.name == "sRGB"
    assert node.inputs["Emission Strength"].default_value == 1.0


def test_no_emission(tmp_path: Path) -> None:
    node = surface(build(tmp_path, {"emissive": {}}))
    assert node.inputs["Emission Strength"].default_value == 0.0


def test_occlusion_is_kept_for_the_exporter(tmp_path: Path) -> None:
    material = build(tmp_path, {"occlusion": {}})
    (group,) = [node for node in material.node_tree.nodes if node.type == "GROUP"]
    assert group.node_tree.name == "glTF Material Output"
    split, channel = source(group.inputs["Occlusion"])
    assert (split.type, channel) == ("SEPARATE_COLOR", "Red")
    build(tmp_path, {"occlusion": {}})
    assert len(bpy.data.node_groups) == 1, "the group is shared"


@pytest.mark.parametrize(
    ("mode", "alpha", "factor", "method"),
    [
        ("OPAQUE", 0, 1.0, None),
        ("BLEND", None, 1.0, None),
        ("BLEND", 255, 1.0, None),
        ("BLEND", 100, 1.0, "BLENDED"),
        ("BLEND", None, 0.5, "BLENDED"),
        ("MASK", 255, 1.0, None),
        ("MASK", 100, 1.0, "DITHERED"),
    ],
)
def test_alpha_only_where_something_is_transparent(
    tmp_path: Path, mode: str, alpha: int | None, factor: float, method: str | None
) -> None:
    material = build(
        tmp_path, {"base_color": {"alpha": alpha}}, alpha_mode=mode, base_color_factor=(1.0, 1.0, 1.0, factor)
    )
    socket = surface(material).inputs["Alpha"]
    assert socket.is_linked == (method is not None)
    if method is not None:
        assert material.surface_render_method == method
    image = next(image for image in bpy.data.images if image.name == "Chair Base Color")
    assert image.alpha_mode == ("CHANNEL_PACKED" if method is None else "STRAIGHT")


def test_blend_wires_alpha_and_factor(tmp_path: Path) -> None:
    material = build(
        tmp_path, {"base_color": {"alpha": 100}}, alpha_mode="BLEND", base_color_factor=(1.0, 1.0, 1.0, 0.5)
    )
    times, _ = source(surface(material).inputs["Alpha"])
    assert (times.operation, times.inputs[1].default_value) == ("MULTIPLY", 0.5)
    assert source(times.inputs[0])[1] == "Alpha"


def test_mask_cuts_at_its_cutoff(tmp_path: Path) -> None:
    """What is below the cutoff is gone, what is at it or above is there: one minus (alpha < cutoff)."""
    material = build(tmp_path, {"base_color": {"alpha": 10}}, alpha_mode="MASK", alpha_cutoff=0.25)
    invert, _ = source(surface(material).inputs["Alpha"])
    assert (invert.operation, invert.inputs[0].default_value) == ("SUBTRACT", 1.0)
    below, _ = source(invert.inputs[1])
    assert (below.operation, below.inputs[1].default_value) == ("LESS_THAN", 0.25)
    assert source(below.inputs[0])[1] == "Alpha"


@pytest.mark.parametrize("double_sided", [False, True])
def test_backfaces(tmp_path: Path, double_sided: bool) -> None:
    assert build(tmp_path, double_sided=double_sided).use_backface_culling is not double_sided


@pytest.mark.parametrize(("wrap", "extension_mode"), [("repeat", "REPEAT"), ("clamp", "EXTEND"), ("mirror", "MIRROR")])
def test_samplers(tmp_path: Path, wrap: str, extension_mode: str) -> None:
    material = build(tmp_path, {"base_color": {"wrap": wrap, "nearest": wrap == "clamp"}})
    node, _ = source(surface(material).inputs["Base Color"])
    assert node.extension == extension_mode
    assert node.interpolation == ("Closest" if wrap == "clamp" else "Linear")


def test_the_exporter_understands_it(tmp_path: Path) -> None:
    """Out through Blender's exporter and in through our reader: the same material."""
    fields = {
        "base_color_factor": (0.5, 0.25, 1.0, 1.0),
        "metallic_factor": 0.5,
        "normal_scale": 0.75,
        "alpha_mode": "MASK",
        "alpha_cutoff": 0.25,
        "double_sided": True,
        "emissive_factor": (1.0, 1.0, 1.0),
    }
    textures = {**ALL, "base_color": {"alpha": 10}}
    material = build(tmp_path, textures, **fields)
    (created,) = [item for item in bpy.data.objects if item.active_material == material]
    bpy.context.scene.collection.objects.link(created)
    bpy.ops.export_scene.gltf(filepath=str(tmp_path / "b.glb"), export_format="GLB")
    _, again = extension.module("engine.mesh.glb").read_glb(tmp_path / "b.glb")
    assert set(again.textures()) == set(ALL)
    for name, value in fields.items():
        assert getattr(again, name) == pytest.approx(value), name


def test_the_layout_is_tidy(tmp_path: Path) -> None:
    """Every node has a label and a place of its own, and wires run from left to right."""
    material = build(
        tmp_path,
        {**ALL, "base_color": {"alpha": 10}},
        base_color_factor=(0.5, 0.5, 0.5, 0.5),
        metallic_factor=0.5,
        roughness_factor=0.5,
        emissive_factor=(0.5, 0.0, 0.0),
        alpha_mode="MASK",
    )
    height = {"TEX_IMAGE": 290, "BSDF_PRINCIPLED": 640, "MIX": 210, "MATH": 160, "NORMAL_MAP": 160}
    nodes = list(material.node_tree.nodes)
    boxes = [
        (n.location.x, n.location.y, n.location.x + n.width, n.location.y - height.get(n.type, 130)) for n in nodes
    ]
    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes[:i]):
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] >= b[1] or b[3] >= a[1]
            assert apart, f"{nodes[i].name} lies on {nodes[j].name}"
    for link in material.node_tree.links:
        assert link.from_node.location.x + link.from_node.width <= link.to_node.location.x
    assert all(node.label for node in nodes if node.type not in ("BSDF_PRINCIPLED", "OUTPUT_MATERIAL"))
