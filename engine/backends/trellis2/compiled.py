# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's exporter, called in a process of its own: its library keeps state that spoils later exports."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from ...progress import Run

TICKS = 6
"""How often upstream's bar moves on."""
LAYOUT = {"base_color": slice(0, 3), "metallic": slice(3, 4), "roughness": slice(4, 5), "alpha": slice(5, 6)}


def to_glb(
    vertices: Any,
    faces: Any,
    coords: Any,
    attributes: Any,
    resolution: int,
    device: str,
    options: Mapping[str, Any],
    run: Run | None = None,
) -> dict[str, Any]:
    """Return the exported mesh as arrays in glTF's frame, its textures, and whether both sides are shown.

    The arrays are those of `chain.Decoded`, `options` the keywords of upstream's function. `positions`, `normals`
    float32 (V, 3), `uvs` float32 (V, 2) with V pointing down, `faces` uint32 (F, 3), `base_color` uint8 (H, W, 4),
    `metallic_roughness` uint8 (H, W, 3). Raises MemoryError where the GPU has too little.
    """
    import torch

    from .device import is_out_of_memory

    postprocess: Any = import_module("o_voxel.postprocess")
    before = postprocess.tqdm
    postprocess.tqdm = _bar(run)
    try:
        made = postprocess.to_glb(
            vertices=torch.from_numpy(vertices),
            faces=torch.from_numpy(faces),
            attr_volume=torch.from_numpy(attributes).to(device),
            coords=torch.from_numpy(coords).to(device),
            attr_layout=LAYOUT,
            aabb=[[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]],
            voxel_size=1 / resolution,
            use_tqdm=True,
            **options,
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError from error
        raise
    finally:
        postprocess.tqdm = before
    material = made.visual.material
    uvs = np.asarray(made.visual.uv, np.float32)
    return {
        "positions": np.asarray(made.vertices, np.float32),
        "faces": np.asarray(made.faces, np.uint32),
        "normals": np.asarray(made.vertex_normals, np.float32),
        # trimesh counts V from the image's lower edge.
        "uvs": np.column_stack([uvs[:, 0], 1 - uvs[:, 1]]).astype(np.float32),
        "base_color": np.asarray(material.baseColorTexture.convert("RGBA")),
        "metallic_roughness": np.asarray(material.metallicRoughnessTexture.convert("RGB")),
        "double_sided": bool(material.doubleSided),
    }


def _bar(run: Run | None) -> type[Any]:
    """Return what stands in for tqdm: each tick goes to `run`."""

    class Bar:
        def __init__(self, *_: object, total: int = TICKS, **__: object) -> None:
            self._total, self._done = total, 0

        def update(self, count: int = 1) -> None:
            self._done += count
            if run is not None:
                run.progress(self._done / self._total)

        def set_description(self, *_: object, **__: object) -> None:
            """Say nothing."""

        def close(self) -> None:
            """Leave nothing behind."""

    return Bar
