# SPDX-License-Identifier: GPL-3.0-or-later
"""The vertices of a finely divided surface as a stand-in for it, asked several times faster than the surface itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from .closest import Surface
from .normals import dot

if TYPE_CHECKING:
    from ..progress import Run

FEWEST_FACES = 200_000
"""Below this the tree over the faces itself is fast."""
LONGEST_EDGE = 3.0
"""The longest edge of a surface that its vertices may stand for, in voxels."""
BATCH = 1 << 18
"""Points asked at once, between two cancel points."""


class Cloud:
    """The vertices of a surface, none of whose points is farther than `gap` from a vertex of its own face."""

    def __init__(self, vertices: npt.NDArray[np.float64], gap: float) -> None:
        self._tree = cKDTree(vertices, balanced_tree=False, compact_nodes=False)
        self._gap = gap

    @classmethod
    def of(cls, surface: Surface, voxel: float) -> Cloud | None:
        """Return the cloud of `surface`, or None where that has few faces or some too large for voxels this wide."""
        if len(surface.faces) < FEWEST_FACES:
            return None
        corners = [surface.positions.take(surface.faces[:, k], axis=0) for k in range(3)]
        longest = max(
            float(dot(side, side).max())
            for side in (a - b for a, b in zip(corners, corners[1:] + corners[:1], strict=True))
        )
        if not longest < (LONGEST_EDGE * voxel) ** 2:
            return None
        used = np.zeros(len(surface.positions), np.bool_)
        used[surface.faces] = True
        return cls(np.asarray(surface.positions[used], np.float64), float(np.sqrt(longest / 3)))

    def bounds(
        self, points: npt.NDArray[Any], run: Run | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the least and the greatest distance (N,) that each of `points` (N, 3) can have from the surface.

        From a face or an edge to its closest point one goes at right angles, so Pythagoras bounds what is left out.
        """
        high = np.empty(len(points))
        for start in range(0, len(points), BATCH):
            if run is not None:
                run.check()
            some = slice(start, start + BATCH)
            high[some] = self._tree.query(points[some], workers=-1)[0]
        return np.sqrt(np.maximum(high**2 - self._gap**2, 0.0)), high
