# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of a GLB (glTF 2.0, section 3.5): which primitives it shows, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .glb_container import Object, Reading
from .transform import node_matrix

PART_LIMIT = 1 << 16
"""Most primitives that a scene may show, however often it shows each."""
TRIANGLES, STRIP, FAN = 4, 5, 6
UNREADABLE = ("KHR_draco_mesh_compression", "EXT_mesh_gpu_instancing")
"""Extensions of nodes and primitives without which their shape is not known."""
Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A primitive of triangles, the matrix float64 (4, 4) of the node that shows it, and the skin it hangs on."""

    primitive: Object
    matrix: npt.NDArray[np.float64]
    skin: int | None


def read_scene(reading: Reading, notice: Notice) -> tuple[dict[int, npt.NDArray[np.float64]], list[Placed]]:
    """Return the matrices, float64 (4, 4), of the main scene's nodes by index, and the primitives that they show.

    `notice` is told in a sentence what is passed over. Raises EspalierError glb_invalid and glb_unsupported.
    """
    world: dict[int, npt.NDArray[np.float64]] = {}
    placed: list[Placed] = []
    waiting = [(index, np.eye(4)) for index in reversed(_roots(reading, notice))]
    meshes = 0
    while waiting:
        index, above = waiting.pop()
        if index in world:
            reading.invalid("its nodes form a circle")
        node = reading.entry("nodes", index)
        for name in UNREADABLE:
            if name in reading.member(node, "extensions"):
                reading.unsupported(name)
        with np.errstate(over="ignore", invalid="ignore"):
            world[index] = above @ node_matrix(reading, node)
        if not np.isfinite(world[index]).all():
            reading.invalid("a transform is out of range")
        if "mesh" in node:
            meshes += 1
            skin = reading.integer(node, "skin") if "skin" in node else None
            for primitive in _primitives(reading, reading.integer(node, "mesh"), notice):
                placed.append(Placed(primitive, world[index], skin))
                if len(placed) > PART_LIMIT:
                    reading.unsupported(f"more than {PART_LIMIT:,} parts")
        waiting += [(child, world[index]) for child in reversed(_indices(reading, node, "children"))]
    if not meshes:
        reading.unsupported("a scene without a mesh")
    return world, placed


def _indices(reading: Reading, owner: Object, key: str) -> list[int]:
    return [reading.integer({key: index}, key) for index in reading.array(owner, key)]


def _roots(reading: Reading, notice: Notice) -> list[int]:
    """Return the nodes at the top of the scene; of all nodes where there is no scene."""
    scenes = reading.array(reading.document, "scenes")
    if scenes:
        if len(scenes) > 1:
            notice("Only the file's main scene was rebuilt.")
        return _indices(reading, reading.entry("scenes", reading.integer(reading.document, "scene", 0)), "nodes")
    count = len(reading.array(reading.document, "nodes"))
    inner = {child for index in range(count) for child in _indices(reading, reading.entry("nodes", index), "children")}
    return [index for index in range(count) if index not in inner]


def _primitives(reading: Reading, index: int, notice: Notice) -> Iterator[Object]:
    for value in reading.array(reading.entry("meshes", index), "primitives"):
        primitive = reading.object(value, "primitives")
        if reading.integer(primitive, "mode", TRIANGLES) < TRIANGLES:
            notice("Points and lines were left out.")
            continue
        yield primitive
