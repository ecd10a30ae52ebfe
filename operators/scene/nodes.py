# SPDX-License-Identifier: GPL-3.0-or-later
"""Adding labeled nodes on a grid, whatever language Blender's interface has and whichever version this is."""

from __future__ import annotations

import bpy

COLUMNS = {"texture": -1120, "split": -780, "factor": -540, "last": -300, "surface": 0, "output": 340}
"""Where nodes of a kind stand, from left to right; the widest (textures and the surface) take 240."""
ROW = {"base_color": 620, "alpha": 390, "metallic_roughness": 220, "normal": -160, "emissive": -500, "occlusion": -840}
"""Where the nodes of a texture stand, from top to bottom; the highest (textures) take 280."""


class Nodes:
    """The node tree of `material`, empty but for an output."""

    def __init__(self, material: bpy.types.Material) -> None:
        if material.node_tree is None:  # from 5.0 on there always is one
            material.use_nodes = True
        self._tree = material.node_tree
        self._tree.nodes.clear()

    def add(self, kind: str, x: float, y: float, label: str = "") -> bpy.types.Node:
        """Return a new node of `kind` at (x, y); an empty label shows the node's own name."""
        node = self._tree.nodes.new(kind)
        node.location = (x, y)
        if label:
            node.label = node.name = label
        return node

    def principled(self) -> bpy.types.Node:
        """Return a new Principled BSDF that is wired to a new output."""
        surface = self.add("ShaderNodeBsdfPrincipled", COLUMNS["surface"], ROW["base_color"])
        output = self.add("ShaderNodeOutputMaterial", COLUMNS["output"], ROW["base_color"])
        self.link(surface.outputs["BSDF"], output.inputs["Surface"])
        return surface

    def link(self, source: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
        """Wire `source` to `target`."""
        self._tree.links.new(target, source)

    def math(
        self,
        operation: str,
        first: bpy.types.NodeSocket | float,
        second: bpy.types.NodeSocket | float,
        x: float,
        y: float,
        label: str,
    ) -> bpy.types.NodeSocket:
        """Return the result of a Math node on two sockets or numbers."""
        node = self.add("ShaderNodeMath", x, y, label)
        node.operation = operation
        for value, socket in zip((first, second), node.inputs, strict=False):
            if isinstance(value, bpy.types.NodeSocket):
                self.link(value, socket)
            else:
                socket.default_value = value
        return node.outputs[0]

    def multiply_color(
        self, color: bpy.types.NodeSocket, factor: tuple[float, ...], x: float, y: float, label: str
    ) -> bpy.types.NodeSocket:
        """Return `color` times `factor`, linear RGBA."""
        node = self.add("ShaderNodeMix", x, y, label)
        node.data_type, node.blend_type = "RGBA", "MULTIPLY"
        # The node has sockets of every type under the same names; those of its type are enabled.
        amount = next(socket for socket in node.inputs if socket.enabled and socket.type == "VALUE")
        colors = [socket for socket in node.inputs if socket.enabled and socket.type == "RGBA"]
        amount.default_value = 1.0
        self.link(color, colors[0])
        colors[1].default_value = factor
        return next(socket for socket in node.outputs if socket.enabled and socket.type == "RGBA")
