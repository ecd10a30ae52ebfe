# SPDX-License-Identifier: GPL-3.0-or-later
"""The closest point of a surface to each of millions of points, by libigl's tree of boxes.

Queries follow one another in space: points that are sorted along a Morton curve, on faces that are too, are found three
times faster than points in any order, because what one walks through in the tree is still in the cache for the next.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import igl
import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..progress import Run
from .morton import morton_order
from .normals import corner_sums, cross, dot
from .parallel import batches, for_each

POINTS_AT_ONCE = 1 << 17
"""Points of one query: well under a second, between two cancel points."""
FACES_AT_ONCE = 1 << 18
"""Faces of one tree: built in a quarter of a second, between two cancel points."""

THINNEST = 1e-6
"""Faces less high than this share of their longest side are noise, which the library cannot find points on."""


@dataclass(slots=True, eq=False)
class Hits:
    """Closest points: `face` int32 (N,), `weights` float32 (N, 2) of the face's second and third corner, `distance`
    float32 (N,), infinite where nothing was found (and `face` is then -1)."""

    face: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    distance: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.face)


class Surface:
    """A triangle mesh that answers which of its points is closest.

    `positions` (V, 3) and `faces` (F, 3); faces without area, thinner than `THINNEST` of their length,
    or with a position that is not finite are left out.
    `normals` float32 (F, 3) are the faces' own, zero for those; `sound` bool (F,) are the others.
    Raises EspalierError mesh_empty where no face is left.
    """

    def __init__(self, positions: npt.NDArray[Any], faces: npt.NDArray[Any], *, run: Run | None = None) -> None:
        self.positions, self.faces = positions, faces
        self.normals = np.empty((len(faces), 3), dtype=np.float32)
        self.sound = np.empty(len(faces), dtype=bool)
        centers = np.empty((len(faces), 3), dtype=np.float32)

        def measure(batch: slice) -> None:
            with np.errstate(over="ignore", invalid="ignore"):
                a, b, c = (positions[faces[batch, corner]].astype(np.float64) for corner in range(3))
                one, two = b - a, c - a
                crosses = cross(one, two)
                area = dot(crosses, crosses)
                longest = np.maximum(dot(one, one), np.maximum(dot(two, two), dot(two - one, two - one)))
                sound = np.isfinite(area) & (area > (THINNEST * longest) ** 2)
                self.sound[batch] = sound
                self.normals[batch] = crosses / np.sqrt(np.where(sound, area, np.inf))[:, None]
                self.normals[batch][~sound] = 0.0
                centers[batch] = a + b + c

        for_each(batches(len(faces)), measure, run)
        kept = np.flatnonzero(self.sound)
        if not len(kept):
            raise EspalierError("mesh_empty")
        self._plant(kept[morton_order(centers[kept])], run)

    def narrowed(self, only: npt.NDArray[np.bool_], run: Run | None = None) -> Surface | None:
        """Return the same surface with none but the faces of `only` bool (F,) to be hit, or None where none is left."""
        kept = np.flatnonzero(self.sound & only)
        if not len(kept):
            return None
        narrow = copy(self)
        narrow._plant(kept[morton_order(corner_sums(self.positions, self.faces[kept]))], run)
        return narrow

    def _plant(self, kept: npt.NDArray[np.int64], run: Run | None) -> None:
        """Build the trees over faces `kept`, which lie in Morton order, with their vertices in that order too."""
        used = np.zeros(len(self.positions), dtype=bool)
        used[self.faces[kept]] = True
        order = np.flatnonzero(used)
        order = order[morton_order(self.positions[order])]
        rank = np.empty(len(self.positions), dtype=np.int64)
        rank[order] = np.arange(len(order))
        positions = self.positions[order].astype(np.float64)
        self._parts = []
        for chunk in _blocks(self.positions, self.faces, kept):
            if run is not None:
                run.check()
            self._parts.append(_Part(positions, rank[self.faces[chunk]], chunk))

    def closest(self, points: npt.NDArray[Any], run: Run | None = None, *, ordered: bool = False) -> Hits:
        """Return the closest point on the surface to each of `points` (N, 3), which must be finite.

        `ordered` says that points that follow one another already lie close together. Reports no progress.
        """
        count = len(points)
        hits = Hits(np.full(count, -1, np.int32), np.zeros((count, 2), np.float32), np.full(count, np.inf, np.float32))
        order = None if ordered or count == 0 else morton_order(points)
        for batch in batches(count, POINTS_AT_ONCE):
            at = batch if order is None else order[batch]
            hits.face[at], spot, hits.distance[at] = self.find(points[at], run)
            hits.weights[at] = self.weights(hits.face[at], spot)
        return hits

    def find(
        self, points: npt.NDArray[Any], run: Run | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return face, closest point and distance of some `points` at once; without a cancel point while it lasts."""
        points = np.ascontiguousarray(points, dtype=np.float64)
        nearest = np.full(len(points), np.inf)
        face = np.zeros(len(points), dtype=np.int64)
        spot = np.empty_like(points)
        reach = np.stack([part.distance(points) for part in self._parts])
        first = reach.argmin(axis=0)
        for own in (True, False):  # what the nearest part has found spares most of the others
            for number, part in enumerate(self._parts):
                if run is not None:
                    run.check()
                open_ = np.flatnonzero((first == number) if own else (first != number) & (reach[number] < nearest))
                if not len(open_):
                    continue
                squared, found, place = part.query(points[open_])
                better = squared < nearest[open_]
                open_ = open_[better]
                nearest[open_], face[open_], spot[open_] = squared[better], found[better], place[better]
        return face, spot, np.sqrt(nearest)

    def weights(self, face: npt.NDArray[Any], spot: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the weights, float64 (N, 2), of faces' second and third corner at points `spot` (N, 3) on them."""
        corners = self.faces.take(face, axis=0)
        a, b, c = (self.positions.take(corners[:, corner], axis=0).astype(np.float64) for corner in range(3))
        one, two, at = b - a, c - a, spot - a
        d11, d12, d22 = dot(one, one), dot(one, two), dot(two, two)
        d1, d2 = dot(at, one), dot(at, two)
        area: npt.NDArray[np.float64] = d11 * d22 - d12 * d12
        second: npt.NDArray[np.float64] = (d22 * d1 - d12 * d2) / area
        third: npt.NDArray[np.float64] = (d11 * d2 - d12 * d1) / area
        second, third = np.clip(second, 0.0, 1.0), np.clip(third, 0.0, 1.0)
        excess = np.maximum(second + third, 1.0)
        return np.stack([second / excess, third / excess], axis=1)


def _blocks(
    positions: npt.NDArray[Any], faces: npt.NDArray[Any], kept: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Return the faces `kept` in blocks of at most `FACES_AT_ONCE`, halved where they reach farthest."""
    if len(kept) <= FACES_AT_ONCE:
        return [kept]
    centers = corner_sums(positions, faces[kept])
    axis = int(np.ptp(centers, axis=0).argmax())
    half = len(kept) // 2
    lower = np.zeros(len(kept), dtype=bool)
    lower[np.argpartition(centers[:, axis], half)[:half]] = True
    return [block for part in (kept[lower], kept[~lower]) for block in _blocks(positions, faces, part)]


class _Part:
    """Faces that lie in one block of space, and the tree over them."""

    def __init__(self, positions: npt.NDArray[Any], faces: npt.NDArray[Any], chunk: npt.NDArray[np.int64]) -> None:
        self.chunk = chunk
        used = np.zeros(len(positions), dtype=bool)
        used[faces] = True
        self.positions = positions[used].astype(np.float64)
        self.faces = (np.cumsum(used) - 1)[faces]
        self.low, self.high = self.positions.min(axis=0), self.positions.max(axis=0)
        self.tree = igl.AABB()
        self.tree.init(self.positions, self.faces)

    def distance(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the squared distance (N,) of `points` (N, 3) from the box."""
        squared = np.zeros(len(points))
        for axis in range(3):
            at = points[:, axis]
            beyond = np.maximum(np.maximum(self.low[axis] - at, at - self.high[axis]), 0.0)
            squared += beyond * beyond
        return squared

    def query(
        self, points: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        squared, face, spot = self.tree.squared_distance(self.positions, self.faces, points)
        return squared, self.chunk[face], spot
