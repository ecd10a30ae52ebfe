# SPDX-License-Identifier: GPL-3.0-or-later
"""The cells that the outline cuts as triangles, refined towards the rim, where the surface is steep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .cells import Ints
from .outline import Bools, Floats, Outline

# Corners of a cell in order: upper left, lower left, lower right, upper right. Edge k runs from corner k to the next.
# A polygon's entries 0 to 3 are corners and 4 to 7 the crossings of edges 0 to 3; listed by which corners are inside.
_POLYGONS: dict[tuple[int, ...], tuple[tuple[int, int, int], ...]] = {
    (0,): ((0, 4, 7),),
    (0, 1): ((0, 1, 5), (0, 5, 7)),
    (0, 1, 2): ((1, 2, 6), (1, 6, 7), (1, 7, 0)),
}
_APART = ((0, 4, 7), (2, 6, 5))
_JOINED = ((0, 4, 5), (0, 5, 2), (0, 2, 6), (0, 6, 7))


_TURNS = 4
_FARTHEST = 0.35
_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Rim:
    """Triangles between the outline and the inner nodes around it.

    `points` float32 (P, 2), row and column: first the `contour` vertices on the outline, then those between it and
    the nodes. `node` int64 (P - contour,) is the inner node whose spoke each of the latter lies on, and `share`
    float32 the fraction of that node's u there. `triangles` int64 (T, 3): an entry below `nodes` is an inner node, the
    others are points.
    """

    points: Floats
    contour: int
    node: Ints
    share: Floats
    triangles: Ints


def weave(outline: Outline, cut: Ints, rows: int) -> Rim:
    """Return the triangles of the `cut` cells (K, 2), with each spoke from outline to node in `rows` pieces.

    Every triangle has one or two inner nodes, so that no edge through the inside joins two points of the outline: such
    an edge would lie in the plane and belong to the front and the back alike.
    """
    nodes = outline.inside.size
    points, right, down = _contour(outline)
    flat = _cut_triangles(outline, cut, right + nodes, down + nodes)
    points = _fair(points, flat, outline)
    if rows == 1:
        return Rim(points, len(points), np.zeros(0, np.int64), np.zeros(0, np.float32), flat)
    return _refine(outline, points, flat, rows)


def _contour(outline: Outline) -> tuple[Floats, Ints, Ints]:
    """Return the crossings (P, 2) and their numbers on the edges to the right and down."""
    across, along = ~np.isnan(outline.right), ~np.isnan(outline.down)
    right, down = np.full(across.shape, -1, np.int64), np.full(along.shape, -1, np.int64)
    count = int(across.sum())
    right[across] = np.arange(count)
    down[along] = np.arange(count, count + int(along.sum()))
    row, column = np.nonzero(across)
    on_rows = np.column_stack([row, column + outline.right[across]])
    row, column = np.nonzero(along)
    on_columns = np.column_stack([row + outline.down[along], column])
    return np.concatenate([on_rows, on_columns]).astype(np.float32), right, down


def _cut_triangles(outline: Outline, cut: Ints, right: Ints, down: Ints) -> Ints:
    """Return the triangles (T, 3) of the cut cells, of nodes and crossings, all turning the same way."""
    row, column = cut.T
    columns = outline.inside.shape[1]
    first = row * columns + column
    corners = np.stack([first, first + columns, first + columns + 1, first + 1], axis=1)
    crossings = np.stack([down[row, column], right[row + 1, column], down[row, column + 1], right[row, column]], axis=1)
    entries = np.concatenate([corners, crossings], axis=1)
    inside = outline.inside.ravel()[corners]
    code = inside @ np.array([1, 2, 4, 8])
    result: list[Ints] = []
    for corner in range(4):
        turned = np.concatenate([np.roll(np.arange(4), -corner), 4 + np.roll(np.arange(4), -corner)])
        for pattern, triangles in _POLYGONS.items():
            wanted = sum(1 << ((k + corner) % 4) for k in pattern)
            _append(result, entries[code == wanted][:, turned], triangles)
        if corner < 2:
            saddle = code == (0b0101 << corner)
            joined: Bools = outline.joined[row, column]
            _append(result, entries[saddle & joined][:, turned], _JOINED)
            _append(result, entries[saddle & ~joined][:, turned], _APART)
    return np.concatenate(result)


def _append(result: list[Ints], entries: Ints, triangles: tuple[tuple[int, int, int], ...]) -> None:
    result.extend(entries[:, list(triangle)] for triangle in triangles)


def _fair(points: Floats, flat: Ints, outline: Outline) -> Floats:
    """Return the points of the outline (P, 2) spread evenly along it, where no triangle turns over by that.

    Where the outline passes close by a node, two crossings lie close together, and the least error of either tilts the
    tall triangles that stand on them.
    """
    nodes, columns = outline.inside.size, outline.inside.shape[1]
    outer = flat >= nodes
    edge = outer.sum(axis=1) == 2
    before = np.empty(len(points), np.int64)
    after = np.empty(len(points), np.int64)
    for k in range(3):
        a, b = flat[:, k], flat[:, (k + 1) % 3]
        pick = edge & outer[:, k] & outer[:, (k + 1) % 3]
        after[a[pick] - nodes], before[b[pick] - nodes] = b[pick] - nodes, a[pick] - nodes
    start = points.astype(np.float64)
    moved = start.copy()
    for _ in range(_TURNS):
        moved += 0.5 * (0.5 * (moved[before] + moved[after]) - moved)
    way = moved - start
    way *= np.minimum(1.0, _FARTHEST / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9))
    grid = np.column_stack(np.divmod(np.arange(nodes), columns)).astype(np.float64)
    least = 0.3 * np.minimum(_areas(np.concatenate([grid, start])[flat]), 0.1)
    for _ in range(_ATTEMPTS):
        bad = _areas(np.concatenate([grid, start + way])[flat]) < least
        if not bad.any():
            break
        way[flat[bad][outer[bad]] - nodes] = 0.0
    else:
        way[:] = 0.0
    return (start + way).astype(np.float32)


def _areas(corner: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the signed areas of triangles (T, 3, 2), positive as `weave` turns them."""
    a, b = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    return np.asarray(0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]))


def _refine(outline: Outline, points: Floats, flat: Ints, rows: int) -> Rim:
    """Return the rim with its spokes divided; a spoke joins a point of the outline to an inner node."""
    nodes, contour = outline.inside.size, len(points)
    outer = flat >= nodes
    # The odd one of each triangle comes first: the node beside two crossings, or the crossing beside two nodes.
    single = np.where(outer.sum(axis=1) == 2, np.argmin(outer, axis=1), np.argmax(outer, axis=1))
    turned = np.take_along_axis(flat, (single[:, None] + np.arange(3)) % 3, axis=1)
    by_node = turned[:, 0] < nodes
    # Both spokes of a triangle leave its first entry.
    hub = np.repeat(turned[:, :1], 2, axis=1)
    pair = np.stack([hub, turned[:, 1:]], axis=2)
    node, point = pair.min(axis=2), pair.max(axis=2) - nodes
    keys, spoke = np.unique(node * contour + point, return_inverse=True)
    spoke = spoke.reshape(-1, 2)
    node_of, point_of = np.divmod(keys, contour)
    share = (np.arange(1, rows) / rows) ** 2
    columns = outline.inside.shape[1]
    at_node = np.column_stack(np.divmod(node_of, columns)).astype(np.float32)
    between = points[point_of][:, None] + share[None, :, None] * (at_node - points[point_of])[:, None]
    numbers = nodes + contour + np.arange(len(keys) * (rows - 1)).reshape(len(keys), rows - 1)
    # Along each spoke from the outline (0) to the node (rows).
    ladder = np.concatenate([(nodes + point_of)[:, None], numbers, node_of[:, None]], axis=1)
    sides = ladder[spoke]
    sides = np.where(by_node[:, None, None], sides[:, :, ::-1], sides)
    first, second = sides[:, 0], sides[:, 1]
    triangles = [np.stack([turned[:, 0], first[:, 1], second[:, 1]], axis=1)]
    for step in range(1, rows):
        triangles.append(np.stack([first[:, step], first[:, step + 1], second[:, step + 1]], axis=1))
        triangles.append(np.stack([first[:, step], second[:, step + 1], second[:, step]], axis=1))
    return Rim(
        np.concatenate([points, between.reshape(-1, 2).astype(np.float32)]),
        contour,
        np.repeat(node_of, rows - 1),
        np.tile(share, len(keys)).astype(np.float32),
        np.concatenate(triangles),
    )
