# SPDX-License-Identifier: GPL-3.0-or-later
"""Sampling a sparse volume at points, as FlexGEMM's `ops.grid_sample` does. The middle of voxel 0 lies at 0.5."""

from __future__ import annotations

import itertools

import torch

from .memory import pieces
from .voxel_keys import VoxelKeys

_CORNERS = tuple(itertools.product((0, 1), repeat=3))
_POINT_BYTES = 256
"""Of temporary tensors to look one point up, without its features."""
_LEAST = 1e-12


def grid_sample_3d(
    feats: torch.Tensor, coords: torch.Tensor, shape: torch.Size, grid: torch.Tensor, mode: str = "trilinear"
) -> torch.Tensor:
    """Return (B, L, C) in the dtype of `feats`: the features at the points of `grid` (B, L, 3), in voxels.

    `feats` (N, C) belong to the voxels `coords` (N, 4); `shape` is (batch, channels, width, height, depth). "trilinear"
    weighs those of the eight voxels around a point that exist, their weights brought to a sum of 1; "nearest" takes the
    voxel that the point lies in. Where there is none the result is 0. Raises ValueError for another
    mode.
    """
    if mode not in {"trilinear", "nearest"}:
        raise ValueError(f"{mode} is neither trilinear nor nearest")
    items, length = grid.shape[:2]
    channels = feats.shape[-1]
    out = torch.zeros((items * length, channels), dtype=feats.dtype, device=feats.device)
    if len(coords):
        keys = VoxelKeys(coords, shape[-3:])
        item = torch.arange(items, device=grid.device).repeat_interleave(length)
        points = grid.reshape(-1, 3)
        points = points.to(torch.promote_types(points.dtype, torch.float32))
        sample = _trilinear if mode == "trilinear" else _nearest
        for piece in pieces(len(points), _POINT_BYTES + 3 * channels * 8):
            out[piece] = sample(feats, keys, item[piece], points[piece]).to(feats.dtype)
    return out.reshape(items, length, channels)


def _nearest(feats: torch.Tensor, keys: VoxelKeys, item: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    voxels = torch.trunc(points).long()  # towards zero, as the compiled one does: the half voxel before 0 counts to it
    rows = keys.rows(torch.cat([item[:, None], voxels], dim=1))
    return torch.where((rows >= 0)[:, None], feats[rows.clamp(min=0)], 0)


def _trilinear(feats: torch.Tensor, keys: VoxelKeys, item: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    wide = torch.promote_types(feats.dtype, points.dtype)
    base = torch.floor(points - 0.5)
    part = points - 0.5 - base
    total = torch.zeros((len(points), feats.shape[-1]), dtype=wide, device=feats.device)
    weights = torch.zeros(len(points), dtype=points.dtype, device=points.device)
    for corner in _CORNERS:
        step = torch.tensor(corner, device=points.device)
        rows = keys.rows(torch.cat([item[:, None], base.long() + step], dim=1))
        weight = torch.where(step.bool(), part, 1 - part).prod(dim=1)
        weight = torch.where(rows >= 0, weight, 0)
        total += weight[:, None].to(wide) * feats[rows.clamp(min=0)].to(wide)
        weights += weight
    return total / weights.clamp(min=_LEAST)[:, None].to(wide)
