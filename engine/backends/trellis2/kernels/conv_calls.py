# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of FlexGEMM's `ops.spconv`, in front of `convolution`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .convolution import convolve, neighbor_map


@dataclass(frozen=True, slots=True, eq=False)
class NeighborCache:
    """What one call finds out about the coordinates and the next call with the same ones is given back."""

    neighbor_map: torch.Tensor


def set_algorithm(algorithm: str) -> None:
    """Take the name of a way to multiply matrices, of which there is one here."""


def set_hashmap_ratio(ratio: float) -> None:
    """Take the size of a hash map, of which there is none here."""


def sparse_submanifold_conv3d(
    feats: torch.Tensor,
    coords: torch.Tensor,
    shape: torch.Size,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    neighbor_cache: NeighborCache | None = None,
    dilation: tuple[int, int, int] = (1, 1, 1),
) -> tuple[torch.Tensor, NeighborCache]:
    """Return the convolved features (N, Co) and what to pass as `neighbor_cache` for the same `coords`.

    `feats` (N, Ci), `coords` (N, 4), `shape` (batch, channels, width, height, depth), `weight` (Co, Kw, Kh, Kd, Ci),
    `bias` (Co). Raises ValueError where the channels do not fit.
    """
    if feats.shape[-1] != weight.shape[-1]:
        raise ValueError(f"features of {feats.shape[-1]} channels do not fit a weight for {weight.shape[-1]}")
    if neighbor_cache is None:
        neighbor_cache = NeighborCache(neighbor_map(coords, shape[-3:], weight.shape[1:4], dilation))
    return convolve(feats, neighbor_cache.neighbor_map, weight, bias), neighbor_cache
