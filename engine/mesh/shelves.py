# SPDX-License-Identifier: GPL-3.0-or-later
"""Packing rectangles in rows, tallest first: loose, but a million take a second."""

from __future__ import annotations

import numpy as np

from ..errors import EspalierError
from .flatten import Float, Index

TRIALS = 24


def pack_boxes(sizes: Float, page: int, gutter: int) -> tuple[float, Index]:
    """Return the largest scale found at which boxes fit on a square page, and where their lower left corners go.

    `sizes` float64 (N, 2) in any unit; the scale turns it into texels. The corners are int64 (N, 2), in texels. Each
    box keeps `gutter` texels away from the others and from the edge of the page. Raises EspalierError where even boxes
    of a single texel do not fit.
    """
    area = float(sizes.prod(axis=1).sum())
    longest = float(sizes.max(initial=0.0))
    high = (page - 2 * gutter) / max(longest, 1e-300)
    if area > 0.0:
        high = min(high, page / np.sqrt(area))
    best, low = 0.0, 0.0
    corners = _rows(np.zeros_like(sizes), page, gutter)
    if corners is None:
        raise EspalierError("unwrap_parts", parts=f"{len(sizes):,}", size=page)
    for trial in range(TRIALS):
        scale = high if trial == 0 else 0.5 * (low + high)
        found = _rows(sizes * scale, page, gutter)
        if found is None:
            high = scale
        else:
            best, low, corners = scale, scale, found
        if (trial == 0 and found is not None) or high - low < 1e-3 * high:
            break
    return best, corners


def _rows(sizes: Float, page: int, gutter: int) -> Index | None:
    """Return the corners of the boxes laid in rows, or None if the page is too small."""
    whole = np.maximum(np.ceil(sizes - 1e-9).astype(np.int64), 1) + gutter
    order = np.lexsort((-whole[:, 0], -whole[:, 1]))
    width, height = whole[order, 0], whole[order, 1]
    end = np.cumsum(width)
    corners = np.empty((len(sizes), 2), dtype=np.int64)
    first, top = 0, gutter
    while first < len(order):
        before = int(end[first - 1]) if first else 0
        last = int(np.searchsorted(end, before + page - gutter, side="right"))
        if last == first or top + int(height[first]) > page:
            return None
        corners[order[first:last], 0] = gutter + end[first:last] - width[first:last] - before
        corners[order[first:last], 1] = top
        top += int(height[first])
        first = last
    return corners
