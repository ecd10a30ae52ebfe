# SPDX-License-Identifier: GPL-3.0-or-later
"""An evenly lit surrounding."""

from __future__ import annotations

from collections.abc import Sequence

import bpy

from .rollback import Rollback


def build_world(name: str, color: Sequence[float], strength: float, rollback: Rollback) -> bpy.types.World:
    """Return a new world called `name` that shines `color` (linear RGB) times `strength` from everywhere."""
    world = bpy.data.worlds.new(name)
    rollback.add(world)
    if world.node_tree is None:  # from 5.0 on there always is one
        world.use_nodes = True
    tree = world.node_tree
    tree.nodes.clear()
    background = tree.nodes.new("ShaderNodeBackground")
    background.inputs["Color"].default_value = (*color, 1.0)
    background.inputs["Strength"].default_value = strength
    output = tree.nodes.new("ShaderNodeOutputWorld")
    output.location = (200, 0)
    tree.links.new(output.inputs["Surface"], background.outputs["Background"])
    return world
