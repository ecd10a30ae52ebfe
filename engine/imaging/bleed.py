# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours carried outward beyond the subject's edge, so that no background bleeds into it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float32]

_FAINT = 1e-3
_REACH = 8


def trust(alpha: npt.NDArray[np.uint8]) -> Floats:
    """Return how far each pixel's colour is the subject's own, float32 (H, W): 1 inside, almost 0 along the edge.

    The outermost pixels are a mixture with the background that the subject was cut from. They count only where there
    are no others, as in hair.
    """
    square = np.ones((3, 3), bool)
    inside = ndimage.binary_erosion(alpha > 127, square, iterations=2)
    inside |= ndimage.binary_erosion(alpha > 250, square)
    # A thin part has an edge only.
    inside |= (alpha > 200) & ~ndimage.binary_dilation(inside, square, iterations=3)
    faint = alpha.astype(np.float32) * np.float32(1 / 255)
    return np.where(inside, np.float32(1), faint * faint * np.float32(_FAINT))


def bleed(values: Floats, weight: Floats) -> Floats:
    """Return `values` float32 (H, W, C) with trusted colours (where `weight` (H, W) is 1) carried outward everywhere.

    For the first pixels each takes the mean of its neighbours that are known, so that the colours along an edge stay
    where they are; what lies farther off becomes smooth.
    """
    height, width = weight.shape
    known = np.zeros((height + 2, width + 2), bool)
    known[1:-1, 1:-1] = weight >= 1
    grown = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    flat, color = known.ravel(), grown.reshape(-1, values.shape[2])
    border = np.ones_like(known)
    border[1:-1, 1:-1] = False
    outside = border.ravel()
    around = np.array([dy * (width + 2) + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
    edge = np.flatnonzero(ndimage.binary_dilation(known, np.ones((3, 3), bool)) & ~known & ~border)
    for _ in range(_REACH):
        if not len(edge):
            break
        neighbours = edge[:, None] + around
        share = flat[neighbours].astype(np.float32)
        share /= share.sum(axis=1, keepdims=True)
        color[edge] = np.einsum("ij,ijk->ik", share, color[neighbours])
        flat[edge] = True
        further = np.unique((edge[:, None] + around).ravel())
        edge = further[~flat[further] & ~outside[further]]
    return extend(grown[1:-1, 1:-1], np.where(known[1:-1, 1:-1], np.float32(1), weight))


def extend(values: Floats, weight: Floats) -> Floats:
    """Return `values` float32 (H, W, C) with what has little `weight` (H, W) replaced by what lies around it.

    Source: S. Gortler et al., "The Lumigraph", SIGGRAPH 96, section 3.4 (pull and push over a pyramid).
    """
    if min(weight.shape) <= 1:
        total = weight.sum()
        mean = (values * weight[..., None]).sum((0, 1)) / total if total > 0 else values.mean((0, 1))
        return np.broadcast_to(mean, values.shape).astype(np.float32)
    coarse_values, coarse_weight = _halve(values, weight)
    coarse = extend(coarse_values, np.minimum(coarse_weight, 1))
    height, width = weight.shape
    result = coarse.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]
    result += (values - result) * weight[..., None]
    return result


def _halve(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return the weighted means and the sums of weight of each two by two pixels; an odd last row stands alone."""
    height, width = weight.shape
    if height % 2 or width % 2:
        values = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
        weight = np.pad(weight, ((0, height % 2), (0, width % 2)))
    weighted = values * weight[..., None]
    rows = weighted[::2] + weighted[1::2]
    sums = rows[:, ::2] + rows[:, 1::2]
    rows_of_weight = weight[::2] + weight[1::2]
    total = rows_of_weight[:, ::2] + rows_of_weight[:, 1::2]
    return sums / np.maximum(total, np.float32(1e-12))[..., None], total
