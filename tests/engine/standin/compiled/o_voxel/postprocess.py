# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter's name and keywords; it makes a square of what it is given. A fault may be asked of it by name."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image


class tqdm:
    """What the real module has under this name; the engine puts its own in its place."""


def to_glb(
    vertices: Any,
    faces: Any,
    attr_volume: Any,
    coords: Any,
    attr_layout: Any,
    aabb: Any,
    voxel_size: Any = None,
    grid_size: Any = None,
    decimation_target: int = 1000000,
    texture_size: int = 2048,
    remesh: bool = False,
    remesh_band: float = 1,
    remesh_project: float = 0.9,
    mesh_cluster_threshold_cone_half_angle_rad: float = np.radians(90.0),
    mesh_cluster_refine_iterations: int = 0,
    mesh_cluster_global_iterations: int = 1,
    mesh_cluster_smooth_strength: float = 1,
    verbose: bool = False,
    use_tqdm: bool = False,
) -> Any:
    """Return a square, as trellis2's exporter returns a mesh of trimesh's."""
    bar = tqdm(total=6, desc="Extracting GLB")
    given = {name: value for name, value in locals().items() if isinstance(value, (int, float, bool))}
    fault = os.environ.get("STANDIN_EXPORT", "")
    for tick in range(6):
        bar.update(1)
        if tick == 2 and fault == "hang":
            time.sleep(600)
        if tick == 2 and fault == "crash":
            os._exit(11)
        if tick == 2 and fault == "memory":
            raise RuntimeError("CUDA error: out of memory")
    bar.close()
    if path := os.environ.get("STANDIN_TOLD"):
        with open(path, "w", encoding="utf-8") as file:
            file.write(repr(given))
    alpha = 120 if fault == "glass" else 255
    color = np.full((texture_size, texture_size, 4), (200, 100, 50, alpha), np.uint8)
    material = SimpleNamespace(
        baseColorTexture=Image.fromarray(color),
        metallicRoughnessTexture=Image.fromarray(np.full((texture_size, texture_size, 3), (0, 200, 10), np.uint8)),
        doubleSided=not remesh,
    )
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    return SimpleNamespace(
        vertices=np.column_stack([corners - 0.5, np.zeros(4, np.float32)]),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        vertex_normals=np.tile(np.array([0, 0, 2.0], np.float32), (4, 1)),
        visual=SimpleNamespace(uv=corners, material=material),
    )
