# SPDX-License-Identifier: GPL-3.0-or-later
"""The Principled BSDF material of an asset, wired as glTF's metallic-roughness model asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from .images import LABELS
from .nodes import COLUMNS, ROW, Nodes
from .occlusion import occlusion_group
from .rollback import Rollback

_EXTENSIONS = {"repeat": "REPEAT", "clamp": "EXTEND", "mirror": "MIRROR"}


def build_material(
    name: str,
    description: Mapping[str, Any],
    images: Mapping[str, bpy.types.Image],
    uv_map: str,
    rollback: Rollback,
) -> bpy.types.Material:
    """Return a new material called `name`, as `description`, the asset's `import.json`, has it.

    `images` are by role. A factor is wired only where it changes something, alpha only where something is transparent.
    """
    settings = description["material"]
    material = bpy.data.materials.new(name)
    rollback.add(material)
    wiring = _Wiring(material, settings, images, description["images"])
    wiring.wire_base_color()
    wiring.wire_metallic_roughness()
    wiring.wire_normal(uv_map)
    wiring.wire_emission()
    wiring.wire_occlusion(rollback)
    material.use_backface_culling = not settings["double_sided"]
    if settings["transparent"]:
        # Dithering sorts correctly, which a cut-out needs; glass-like parts look smoother blended.
        blended = settings["alpha_mode"] == "BLEND"
        material.surface_render_method = "BLENDED" if blended else "DITHERED"
        material.use_transparency_overlap = False
    return material


class _Wiring:
    """The node tree of one material while it is wired; each role has a row, each kind of node a column."""

    def __init__(
        self,
        material: bpy.types.Material,
        settings: Mapping[str, Any],
        images: Mapping[str, bpy.types.Image],
        samplers: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.settings = settings
        self.images = images
        self.samplers = samplers
        self.nodes = Nodes(material)
        self.surface = self.nodes.principled()

    def texture(self, role: str, row: int) -> bpy.types.Node | None:
        """Return a node that shows the image of `role`, None where there is none."""
        if role not in self.images:
            return None
        node = self.nodes.add("ShaderNodeTexImage", COLUMNS["texture"], row, LABELS[role])
        node.image = self.images[role]
        sampler = self.samplers[role]
        node.extension = _EXTENSIONS[sampler["wrap"]]
        node.interpolation = "Closest" if sampler["nearest"] else "Linear"
        return node

    def wire_base_color(self) -> None:
        factor = self.settings["base_color_factor"]
        texture = self.texture("base_color", ROW["base_color"])
        target = self.surface.inputs["Base Color"]
        if texture is None:
            target.default_value = (*factor[:3], 1.0)
        else:
            self._tinted(texture.outputs["Color"], factor[:3], target, ROW["base_color"])
        if self.settings["transparent"]:
            self._wire_alpha(texture, factor[3])

    def _wire_alpha(self, texture: bpy.types.Node | None, factor: float) -> None:
        target = self.surface.inputs["Alpha"]
        if texture is None:
            masked = self.settings["alpha_mode"] == "MASK"
            target.default_value = float(factor >= self.settings["alpha_cutoff"]) if masked else factor
            return
        row = ROW["alpha"]
        alpha = texture.outputs["Alpha"]
        if factor != 1.0:
            alpha = self.nodes.math("MULTIPLY", alpha, factor, COLUMNS["split"], row, "Alpha Factor")
        if self.settings["alpha_mode"] == "MASK":
            cut = self.nodes.math(
                "LESS_THAN", alpha, self.settings["alpha_cutoff"], COLUMNS["factor"], row, "Below Cutoff"
            )
            alpha = self.nodes.math("SUBTRACT", 1.0, cut, COLUMNS["last"], row, "Alpha Clip")
        self.nodes.link(alpha, target)

    def wire_metallic_roughness(self) -> None:
        texture = self.texture("metallic_roughness", ROW["metallic_roughness"])
        factors = {"Metallic": self.settings["metallic_factor"], "Roughness": self.settings["roughness_factor"]}
        if texture is None:
            for socket, factor in factors.items():
                self.surface.inputs[socket].default_value = factor
            return
        row = ROW["metallic_roughness"]
        split = self.nodes.add("ShaderNodeSeparateColor", COLUMNS["split"], row, "Metallic Roughness Channels")
        self.nodes.link(texture.outputs["Color"], split.inputs["Color"])
        for socket, channel, place in (("Metallic", "Blue", row), ("Roughness", "Green", row - 200)):
            value = split.outputs[channel]
            if factors[socket] != 1.0:
                value = self.nodes.math(
                    "MULTIPLY", value, factors[socket], COLUMNS["factor"], place, f"{socket} Factor"
                )
            self.nodes.link(value, self.surface.inputs[socket])

    def wire_normal(self, uv_map: str) -> None:
        texture = self.texture("normal", ROW["normal"])
        if texture is None:
            return
        node = self.nodes.add("ShaderNodeNormalMap", COLUMNS["factor"], ROW["normal"], "Normal Map")
        node.uv_map = uv_map
        node.inputs["Strength"].default_value = max(0.0, self.settings["normal_scale"])
        self.nodes.link(texture.outputs["Color"], node.inputs["Color"])
        self.nodes.link(node.outputs["Normal"], self.surface.inputs["Normal"])

    def wire_emission(self) -> None:
        factor = self.settings["emissive_factor"]
        if not any(factor):
            return
        texture = self.texture("emissive", ROW["emissive"])
        target = self.surface.inputs["Emission Color"]
        self.surface.inputs["Emission Strength"].default_value = 1.0
        if texture is None:
            target.default_value = (*factor, 1.0)
        else:
            self._tinted(texture.outputs["Color"], factor, target, ROW["emissive"])

    def wire_occlusion(self, rollback: Rollback) -> None:
        """Keep the occlusion texture where Blender's glTF exporter looks for it; renderers compute occlusion."""
        texture = self.texture("occlusion", ROW["occlusion"])
        if texture is None:
            return
        split = self.nodes.add("ShaderNodeSeparateColor", COLUMNS["split"], ROW["occlusion"], "Occlusion Channel")
        node = self.nodes.add("ShaderNodeGroup", COLUMNS["surface"], ROW["occlusion"], "glTF Settings")
        node.node_tree = occlusion_group(rollback)
        self.nodes.link(texture.outputs["Color"], split.inputs["Color"])
        self.nodes.link(split.outputs["Red"], node.inputs["Occlusion"])

    def _tinted(
        self, color: bpy.types.NodeSocket, factor: tuple[float, ...], target: bpy.types.NodeSocket, row: int
    ) -> None:
        if any(value != 1.0 for value in factor):
            color = self.nodes.multiply_color(color, (*factor, 1.0), COLUMNS["factor"], row, "Color Factor")
        self.nodes.link(color, target)
