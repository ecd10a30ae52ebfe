# SPDX-License-Identifier: GPL-3.0-or-later
"""Submanifold sparse convolution: neighbors are looked up once, then gathered, multiplied and added per tap.

The voxels of the result are those of the input (Graham, Engelcke, van der Maaten: 3D Semantic Segmentation with
Submanifold Sparse Convolutional Networks, 2018, section 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from .memory import pieces
from .voxel_keys import VoxelKeys

_LOOKUP_BYTES = 136
"""Of temporary tensors to look one voxel up: its coordinates, key, place, row and masks."""


def neighbor_map(
    coords: torch.Tensor, extent: Sequence[int], kernel_size: Sequence[int], dilation: Sequence[int] = (1, 1, 1)
) -> torch.Tensor:
    """Return int32 (N, taps): the row of the voxel under each tap of the kernel around each voxel, or -1 for none.

    `coords` (N, 4) and `extent` as `VoxelKeys` takes them. The taps run over x, y, z, z fastest; the middle one of an
    odd kernel is the voxel itself. Half of an odd kernel is the other half seen from the neighbor, so only one is
    looked up.
    """
    offsets = _offsets(kernel_size, dilation)
    taps = len(offsets)
    mirrored = all(size % 2 for size in kernel_size)
    found = torch.full((len(coords), taps), -1, dtype=torch.int32, device=coords.device)
    if not len(coords):
        return found
    keys = VoxelKeys(coords, extent)
    step = torch.tensor(offsets, dtype=torch.int64, device=coords.device)
    for tap in range(taps // 2 if mirrored else taps):
        for piece in pieces(len(coords), _LOOKUP_BYTES):
            rows = keys.rows(coords[piece].long() + step[tap])
            found[piece, tap] = rows.int()
            if mirrored:
                here = (rows >= 0).nonzero().squeeze(1)
                found[rows[here], taps - 1 - tap] = (here + piece.start).int()
    if mirrored:
        found[:, taps // 2] = torch.arange(len(coords), dtype=torch.int32, device=coords.device)
    return found


def convolve(
    feats: torch.Tensor, neighbors: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Return (N, Co) in the dtype of `feats` (N, Ci): for each voxel the sum over taps of neighbor times weight.

    `neighbors` as `neighbor_map` returns it; `weight` (Co, Kx, Ky, Kz, Ci) in the dtype of `feats`; `bias` (Co) or
    None. Sums are kept in float32 at least, whatever the dtype. The order of the sums does not depend on the memory
    limit, and no two of them meet in one place, so that a run is repeated exactly.
    """
    out_channels, in_channels = weight.shape[0], weight.shape[-1]
    wide = torch.promote_types(feats.dtype, torch.float32)
    # Processors multiply float32 about five times as fast as float16; GPUs the other way round.
    work = wide if feats.device.type == "cpu" else feats.dtype
    taps = weight.reshape(out_channels, -1, in_channels).permute(1, 2, 0).to(work).contiguous()
    out = torch.empty((len(feats), out_channels), dtype=feats.dtype, device=feats.device)
    row_bytes = (
        in_channels * (feats.element_size() + work.itemsize)
        + out_channels * (work.itemsize + 2 * wide.itemsize)
        + _LOOKUP_BYTES
    )
    for piece in pieces(len(feats), row_bytes):
        rows = neighbors[piece]
        total = torch.zeros((len(rows), out_channels), dtype=wide, device=feats.device)
        if bias is not None:
            total += bias.to(wide)
        for tap in range(len(taps)):
            here = (rows[:, tap] >= 0).nonzero().squeeze(1)
            if len(here):
                total.index_add_(0, here, (feats[rows[here, tap].long()].to(work) @ taps[tap]).to(wide))
        out[piece] = total.to(feats.dtype)
    return out


def _offsets(kernel_size: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Return the step from a voxel to the one under each tap, (0, dx, dy, dz)."""
    both = zip(kernel_size, dilation, strict=True)
    spans = [[(place - size // 2) * apart for place in range(size)] for size, apart in both]
    return [(0, x, y, z) for x, y, z in itertools.product(*spans)]
