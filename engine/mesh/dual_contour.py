# SPDX-License-Identifier: GPL-3.0-or-later
"""Dual contouring of values at the corners of sparse voxels into a closed manifold of quads.

One vertex for each patch of surface in a cell, at the mean of its crossings of the cell's edges; one quad for each
crossed edge of the grid. Where two segments on the face between two cells would join the same two vertices twice,
each segment gets a vertex of its own, so that every edge of the result lies between exactly two faces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .dual_tables import edge_corners, tables
from .voxels import Corners

_CELL_SLOTS = np.array(
    [
        [(cell & 1) + (s & 1) + 3 * ((cell >> 1 & 1) + (s >> 1 & 1)) + 9 * ((cell >> 2) + (s >> 2)) for s in range(8)]
        for cell in range(8)
    ]
)
"""Which of a brick's 27 corners are the 8 of each of its 8 voxels."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Voxels that the surface crosses: `corners` int32 (N, 8), the `code` of their signs uint8 (N,).

    `first` int64 (N,) is the number of the first vertex of each.
    """

    corners: npt.NDArray[np.int32]
    code: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int64]
    vertices: int

    @property
    def patches(self) -> npt.NDArray[np.uint8]:
        """How many patches, and so vertices, each cell has (N,)."""
        return tables().patches[self.code]


@dataclass(frozen=True, slots=True)
class Quads:
    """`ring` int64 (Q, 4) vertices, counter-clockwise from outside; the grid `edge` each is dual to.

    `low`, `high` int32 (Q,) are the corners of that edge, `axis` int8 (Q,); `cells` int32 (Q, 4) the cells in the
    order x, x + b, x + b + c, x + c of the axes that follow, which `ring` follows or, where `turned`, reverses.
    `open_cells` int64 lists the cells with a crossed edge at which another cell is missing.
    """

    ring: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int32]
    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]
    axis: npt.NDArray[np.int8]
    turned: npt.NDArray[np.bool_]
    open_cells: npt.NDArray[np.int64]

    def only(self, kept: npt.NDArray[np.bool_]) -> Quads:
        """Return the quads where `kept` (Q,) is set."""
        return replace(
            self,
            ring=self.ring[kept],
            cells=self.cells[kept],
            low=self.low[kept],
            high=self.high[kept],
            axis=self.axis[kept],
            turned=self.turned[kept],
        )


def crossed_cells(corners: Corners, values: npt.NDArray[np.float32]) -> Cells:
    """Return the voxels whose corners have both signs; `values` (C,) are negative inside."""
    inside = (values < 0)[corners.of_brick]
    code = np.zeros((len(inside), 8), np.uint8)
    for cell in range(8):
        for bit in range(8):
            code[:, cell] |= inside[:, _CELL_SLOTS[cell, bit]].view(np.uint8) << np.uint8(bit)
    brick, cell_index = np.nonzero((code != 0) & (code != 255))
    code = code[brick, cell_index]
    count = tables().patches[code].astype(np.int64)
    first = np.cumsum(count) - count
    chosen = corners.of_brick[brick[:, None], _CELL_SLOTS[cell_index]]
    return Cells(chosen, code, first, int(count.sum()))


def dual_quads(cells: Cells, values: npt.NDArray[np.float32]) -> Quads:
    """Return one quad for each crossed edge whose four cells are there."""
    table = tables()
    cell_at = np.full(len(values), -1, np.int32)
    cell_at[cells.corners[:, 0]] = np.arange(len(cells.corners), dtype=np.int32)
    parts = []
    missing = table.crossed[cells.code].sum(axis=1, dtype=np.int64)
    for axis in range(3):
        b, c = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
        base = np.flatnonzero(table.crossed[cells.code, 4 * axis + 3]).astype(np.int32)
        around = np.stack([base, *(cell_at[cells.corners[base, slot]] for slot in (b, b | c, c))], axis=1)
        kept = (around >= 0).all(axis=1)
        around, base = around[kept], base[kept]
        ring = np.empty(around.shape, np.int64)
        for k, edge in enumerate((3, 2, 0, 1)):
            cell = around[:, k]
            ring[:, k] = cells.first[cell] + table.patch[cells.code[cell], 4 * axis + edge]
        low, high = (cells.corners[base, slot] for slot in edge_corners(4 * axis + 3))
        parts.append((ring, around, low, high, np.full(len(base), axis, np.int8), values[low] >= 0))
    ring, around, low, high, axes, turned = (np.concatenate(part) for part in zip(*parts, strict=True))
    ring[turned] = ring[turned, ::-1]
    missing -= np.bincount(around.ravel(), minlength=len(missing))
    return Quads(ring, around, low, high, axes, turned, np.flatnonzero(missing))


def crossing(
    corners: Corners, values: npt.NDArray[np.float32], low: npt.NDArray[Any], high: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return where (N, 3), in voxels, the value is 0 between the corners `low` and `high` (N,)."""
    start = values[low].astype(np.float64)
    share = start / (start - values[high])
    begin = corners.place[low].astype(np.float64)
    place: npt.NDArray[np.float64] = begin + share[:, None] * (corners.place[high] - begin)
    return place


def dual_vertices(
    cells: Cells, corners: Corners, values: npt.NDArray[np.float32], wanted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return each patch's vertex (N, 3), in voxels: the mean of its crossings; those of cells not `wanted` are 0."""
    table = tables()
    total = np.zeros((cells.vertices, 3))
    count = np.zeros(cells.vertices)
    chosen = np.flatnonzero(wanted)
    for edge in range(12):
        index = chosen[table.crossed[cells.code[chosen], edge]]
        low, high = (cells.corners[index, slot] for slot in edge_corners(edge))
        vertex = cells.first[index] + table.patch[cells.code[index], edge]
        total[vertex] += crossing(corners, values, low, high)
        count[vertex] += 1
    total /= np.maximum(count, 1.0)[:, None]
    return total


def twin_vertices(
    cells: Cells, quads: Quads, corners: Corners, values: npt.NDArray[np.float32], first: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the vertex on each side of each quad (Q, 4), -1 where there is none, and those vertices' places.

    Side k runs from cell k to cell k + 1 of `quads.cells`. New vertices are numbered from `first`.
    """
    table = tables()
    sides = np.full(quads.cells.shape, -1, np.int64)
    found: list[tuple[npt.NDArray[np.int64], int, npt.NDArray[np.int64]]] = []
    local = (3, 2, 0, 1)
    for axis in range(3):
        of_axis = np.flatnonzero(quads.axis == axis)
        b, c = (axis + 1) % 3, (axis + 2) % 3
        for side, (lower, upper, normal) in enumerate(((0, 1, b), (1, 2, c), (3, 2, b), (0, 3, c))):
            below, above = quads.cells[of_axis, lower], quads.cells[of_axis, upper]
            both = table.twin[cells.code[below], normal, 1] & table.twin[cells.code[above], normal, 0]
            at = of_axis[both]
            if len(at):
                cell = below[both].astype(np.int64)
                segment = table.segment[cells.code[cell], normal, 1, 4 * axis + local[lower]]
                found.append((at, side, (cell * 3 + normal) * 2 + segment))
    if not found:
        return sides, np.zeros((0, 3))
    names, inverse = np.unique(np.concatenate([key for _, _, key in found]), return_inverse=True)
    places = np.zeros((len(names), 3))
    start = 0
    for at, side, key in found:
        number = inverse.ravel()[start : start + len(key)]
        start += len(key)
        sides[at, side] = first + number
        # A segment joins two crossed edges, so each of its quads gives half its middle.
        np.add.at(places, number, crossing(corners, values, quads.low[at], quads.high[at]) / 2)
    return sides, places


def fans(
    quads: Quads, sides: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64], first: int
) -> npt.NDArray[np.int64]:
    """Return the triangles (N, 3) of the quads `chosen` that have vertices on their sides, around a vertex each.

    The middle vertex of the i-th is `first` + i, for which the crossing of its edge is the place.
    """
    triangles = []
    for number, quad in enumerate(chosen):
        ring = quads.ring[quad][::-1] if quads.turned[quad] else quads.ring[quad]
        outline = [v for k in range(4) for v in (ring[k], sides[quad, k]) if v >= 0]
        fan = [(first + number, outline[i], outline[(i + 1) % len(outline)]) for i in range(len(outline))]
        triangles += [(m, q, p) for m, p, q in fan] if quads.turned[quad] else fan
    return np.array(triangles, np.int64).reshape(-1, 3)
