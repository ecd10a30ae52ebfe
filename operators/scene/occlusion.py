# SPDX-License-Identifier: GPL-3.0-or-later
"""The node group in which Blender's glTF exporter looks for what the Principled BSDF has no socket for."""

from __future__ import annotations

import bpy

from .rollback import Rollback

NAME = "glTF Material Output"
"""The exporter's manual names it: a group so called, with an input `Occlusion`, marks the occlusion texture."""


def occlusion_group(rollback: Rollback) -> bpy.types.NodeTree:
    """Return the group, the one of this file where it has one."""
    for group in bpy.data.node_groups:
        if group.name == NAME and group.library is None and "Occlusion" in group.interface.items_tree:
            return group
    group = bpy.data.node_groups.new(NAME, "ShaderNodeTree")
    rollback.add(group)
    group.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    group.nodes.new("NodeGroupInput").location = (-200, 0)
    group.nodes.new("NodeGroupOutput")
    return group
