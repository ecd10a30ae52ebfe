# SPDX-License-Identifier: GPL-3.0-or-later
"""Order along a Morton curve: what lies close together in space comes to lie close together in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_CELLS = 1023.0
_SPREAD = ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249))


def morton_order(points: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the order, int64 (N,), in which `points` (N, 3) lie along a Morton curve of 1024 cells on a side.

    Those that are not finite come first.
    """
    finite = np.isfinite(points).all(axis=1)
    if not finite.any():
        return np.arange(len(points))
    if not finite.all():
        points = np.where(finite[:, None], points, points[finite].min(axis=0))
    low = points.min(axis=0)
    extent = float((points.max(axis=0) - low).max())
    scale = _CELLS / extent if extent > 0 else 0.0
    code = np.zeros(len(points), dtype=np.uint32)
    for axis in range(3):
        cell = ((points[:, axis] - low[axis]) * scale).astype(np.uint32)
        for shift, mask in _SPREAD:
            cell = (cell | (cell << np.uint32(shift))) & np.uint32(mask)
        code |= cell << np.uint32(axis)
    return np.argsort(code, kind="stable")


def order_in_space(
    positions: npt.NDArray[Any], faces: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the order of `positions` (V, 3) along the curve, `faces` int (F, 3) renumbered to it, and their order.

    The first is int64 (V,), the last int64 (F,): faces follow the first of their vertices.
    """
    vertices = morton_order(positions)
    rank = np.empty(len(vertices), np.int64)
    rank[vertices] = np.arange(len(vertices))
    renumbered = rank[faces]
    order = np.argsort(renumbered.min(axis=1).astype(np.uint32), kind="stable")
    return vertices, renumbered[order], order
