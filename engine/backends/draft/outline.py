# SPDX-License-Identifier: GPL-3.0-or-later
"""The subject's outline: where the line at one half of its alpha crosses a square grid, to a fraction of a cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ...imaging.framing import Frame, crop

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

MARGIN = 8
"""Cells of the grid around the frame, so that the outline never meets the grid's border."""
PER_CELL = 2
"""Pixels of the working alpha to a cell of the finest grid."""
_LEVEL = 0.5
_COARSE = 0.75
_SPECK = 2 * PER_CELL * PER_CELL
_NEAREST = 0.05
"""A crossing keeps this fraction of a cell from the grid's nodes, so that no two of them meet in one vertex."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline on a grid of (R, C) nodes, one cell apart.

    `inside` bool (R, C). `right` float32 (R, C-1) and `down` float32 (R-1, C) tell where the outline crosses the edge
    from a node to its right or lower neighbour, as a fraction of the edge from the upper or left node; NaN where both
    ends are on one side. `joined` bool (R-1, C-1): in a cell with two opposite corners inside, whether they meet.
    """

    inside: Bools
    right: Floats
    down: Floats
    joined: Bools


def working_alpha(image: Image.Image, frame: Frame, cells: int) -> tuple[Floats, int]:
    """Return the alpha of `image` about `frame` at two pixels to a cell, smoothed, and the number of lost specks.

    The field is float32 ((cells + 2 MARGIN) * 2 on a side), 0.5 on the outline, and shows parts thinner than a cell
    as wide as one. Specks, smaller than a cell all round, are left out and counted.
    """
    margin = (MARGIN + 1) / cells
    part, local = crop(image, frame, margin)
    alpha = part.getchannel("A")
    size = (cells + 2 * MARGIN) * PER_CELL
    reach = local.side * (0.5 + MARGIN / cells)
    box = (local.x - reach, local.y - reach, local.x + reach, local.y + reach)
    raw = np.asarray(alpha.resize((size, size), Image.Resampling.BICUBIC, box=box), np.float32) / 255.0
    scale = cells * PER_CELL / local.side
    # An outline without anti-aliasing is a staircase of source pixels; this is wide enough to walk down it.
    smooth = ndimage.gaussian_filter(raw, max(0.7, 0.7 * scale), truncate=3.0)
    return _keep_thin(_present(alpha, box, size, scale) if scale < _COARSE else raw > _LEVEL, smooth)


def _present(alpha: Image.Image, box: tuple[float, float, float, float], size: int, scale: float) -> Bools:
    """Return which working pixels (size, size) hold any of the subject, of which averaging would leave nothing."""
    reach = 2 * math.ceil((1.0 / scale - 1.0) / 2.0) + 1
    solid = ndimage.maximum_filter(np.asarray(alpha), reach) > 127
    return np.asarray(Image.fromarray(solid).resize((size, size), Image.Resampling.NEAREST, box=box))


def _keep_thin(mask: Bools, smooth: Floats) -> tuple[Floats, int]:
    """Return `smooth` with the parts of `mask` that a grid would lose widened to one cell, and the specks left out."""
    square = np.ones((3, 3), bool)
    core = ndimage.binary_opening(smooth > _LEVEL, square)
    near = ndimage.binary_dilation(core, square, iterations=2)
    lost = mask & ~near
    if not lost.any():
        return smooth, 0
    labels, count = ndimage.label(lost, square)
    size = np.bincount(labels.ravel(), minlength=count + 1)
    keep = size > _SPECK
    keep[0] = False
    specks = int(count - keep.sum())
    kept = keep[labels]
    if not kept.any():
        return smooth, specks
    thin = mask & ~core & ndimage.binary_dilation(kept, square, iterations=4)
    radius = 0.6 * PER_CELL
    distance = np.asarray(ndimage.distance_transform_edt(~thin), np.float32)
    return np.maximum(smooth, np.clip(1.0 - distance * np.float32(_LEVEL / radius), 0.0, 1.0)), specks


def trace(field: Floats) -> Outline:
    """Return the outline of `field` on the grid whose nodes are every PER_CELL-th corner between its pixels."""
    step = PER_CELL
    padded = np.pad(field, 1)
    # The grid's border is outside whatever comes, so that the outline is closed.
    padded[: step + 1], padded[-step - 1 :], padded[:, : step + 1], padded[:, -step - 1 :] = 0, 0, 0, 0
    corner = (padded[:-1, :-1] + padded[1:, :-1] + padded[:-1, 1:] + padded[1:, 1:]) * np.float32(0.25)
    at = corner[::step, ::step]
    inside = at > _LEVEL
    # Edges along a row of corners: the field there is piecewise linear between neighbouring corners.
    right = _crossings(corner[::step, :], inside)
    down = _crossings(np.ascontiguousarray(corner[:, ::step].T), inside.T).T
    middle = corner[step // 2 :: step, step // 2 :: step]
    return Outline(inside, right, np.ascontiguousarray(down), middle > _LEVEL)


def _crossings(lines: Floats, inside: Bools) -> Floats:
    """Return where each edge between nodes crosses the level: `lines` (R, (C-1) PER_CELL + 1), `inside` (R, C)."""
    step = PER_CELL
    result = np.full((inside.shape[0], inside.shape[1] - 1), np.nan, np.float32)
    row, column = np.nonzero(inside[:, :-1] != inside[:, 1:])
    samples = lines[row[:, None], (column * step)[:, None] + np.arange(step + 1)] - _LEVEL
    entering = ~inside[row, column]
    # From the inner end outward: the first sample that is outside ends the piece that holds the crossing.
    outward = np.where(entering[:, None], samples[:, ::-1], samples)
    first = np.argmax(outward <= 0.0, axis=1)
    pick = np.arange(len(row))
    high, low = outward[pick, first - 1], outward[pick, first]
    fraction = (first - 1 + high / (high - low)) / step
    fraction = np.clip(fraction, _NEAREST, 1.0 - _NEAREST)
    result[row, column] = np.where(entering, 1.0 - fraction, fraction)
    return result


def round_cells(cells: float) -> int:
    """Return the number of cells nearest below `cells` that halves well: a multiple of 16, at least 32."""
    return max(32, 16 * math.floor(cells / 16))
