# SPDX-License-Identifier: GPL-3.0-or-later
"""The flexible dual grid to a mesh, as o-voxel's `convert` does: a vertex to a voxel, a quad to a crossed edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from .memory import pieces
from .voxel_keys import VoxelKeys

_AROUND = (
    ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)),
    ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)),
    ((0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)),
)
"""The four voxels around the edge of a voxel that runs along x, y and z; the format prescribes their order."""
_SPLIT_02 = (0, 1, 2, 0, 2, 3)
_SPLIT_13 = (0, 1, 3, 3, 1, 2)
_EDGE_BYTES = 4 * 160

Numbers: TypeAlias = float | Sequence[float] | Sequence[Sequence[float]] | npt.NDArray[np.float64] | torch.Tensor


def flexible_dual_grid_to_mesh(
    coords: torch.Tensor,
    dual_vertices: torch.Tensor,
    intersected_flag: torch.Tensor,
    split_weight: torch.Tensor | None,
    aabb: Numbers,
    voxel_size: Numbers | None = None,
    grid_size: Numbers | None = None,
    train: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the vertices, float (N, 3), one for each voxel in order, and int32 (F, 3) triangles.

    `coords` (N, 3) are the voxels, `dual_vertices` (N, 3) where in its voxel each vertex lies, `intersected_flag` bool
    (N, 3) which of a voxel's edges along x, y, z the surface crosses, `split_weight` (N, 1) how likely a vertex ends a
    quad's diagonal, or None for the diagonal with the flatter pair of triangles. A quad that lacks one of its four
    voxels is left out. `aabb` is the grid's box, cut into voxels of `voxel_size` or into `grid_size` of them. Raises
    ValueError where neither is given, or for `train`.
    """
    if train:
        raise ValueError("the mesh for training is not made here")
    box = _tensor(aabb, coords.device).reshape(2, 3)
    size, extent = _grid(box, voxel_size, grid_size)
    vertices = (coords.float() + dual_vertices) * size + box[0]
    quads = _quads(coords, intersected_flag.bool(), extent)
    rows = quads.long()
    if split_weight is not None:
        weight = split_weight.reshape(-1)[rows]
        first = weight[:, 0] * weight[:, 2] > weight[:, 1] * weight[:, 3]
    else:
        first = _flatness(vertices, rows[:, _SPLIT_02]) > _flatness(vertices, rows[:, _SPLIT_13])
    triangles = torch.where(first[:, None], quads[:, _SPLIT_02], quads[:, _SPLIT_13])
    return vertices, triangles.reshape(-1, 3)


def _quads(coords: torch.Tensor, crossed: torch.Tensor, extent: Sequence[int]) -> torch.Tensor:
    """Return int32 (Q, 4): the voxels around each crossed edge that has all four."""
    voxels, axes = crossed.nonzero(as_tuple=True)
    quads = torch.zeros((0, 4), dtype=torch.int32, device=coords.device)
    if not len(voxels):
        return quads
    keys = VoxelKeys(torch.nn.functional.pad(coords.long(), (1, 0)), extent)
    around = torch.nn.functional.pad(torch.tensor(_AROUND, device=coords.device), (1, 0))
    found = [quads]
    for piece in pieces(len(voxels), _EDGE_BYTES):
        corners = torch.nn.functional.pad(coords[voxels[piece]].long(), (1, 0))[:, None] + around[axes[piece]]
        rows = keys.rows(corners)
        found.append(rows[(rows >= 0).all(dim=1)].int())
    return torch.cat(found)


def _flatness(vertices: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Return (Q,): the cosine of the angle between the two triangles (Q, 6) of each quad."""
    corners = vertices[triangles].reshape(-1, 2, 3, 3)
    normals = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    return torch.nn.functional.cosine_similarity(normals[:, 0], normals[:, 1], dim=1)


def _grid(box: torch.Tensor, voxel_size: Numbers | None, grid_size: Numbers | None) -> tuple[torch.Tensor, list[int]]:
    """Return the voxel's size (3,) and how many voxels the box has along each axis."""
    if voxel_size is not None:
        size = _tensor(voxel_size, box.device).expand(3)
        return size, ((box[1] - box[0]) / size).round().int().tolist()
    if grid_size is None:
        raise ValueError("neither voxel_size nor grid_size is given")
    extent = _tensor(grid_size, box.device).expand(3)
    return (box[1] - box[0]) / extent, extent.int().tolist()


def _tensor(values: Numbers, device: torch.device) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values.to(device=device, dtype=torch.float32)
    return torch.tensor(np.asarray(values), dtype=torch.float32, device=device)
