# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling whether a flattened chart covers any point of the plane twice.

A map of a surface that turns no triangle over covers each point as often as the borders wind around it. So a chart is
injective where its borders cross neither themselves nor each other and only one of them runs counter-clockwise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..progress import Run
from .flatten import Float, Index, Patchwork

CROWD = 64
"""Cells of the grid that hold more pieces of border than this on average are made smaller."""
GRID_LEVELS = 8
BATCH = 4_000_000


def border_half_edges(corners: Index, count: int) -> Index:
    """Return the half-edges (3 * face + corner) of `corners` (F, 3) along which no second face lies."""
    start, end = corners.ravel(), np.roll(corners, -1, axis=1).ravel()
    key = np.minimum(start, end) * count + np.maximum(start, end)
    order = np.argsort(key)
    ordered = key[order]
    new = np.concatenate(([True], ordered[1:] != ordered[:-1], [True])) if len(key) else np.zeros(1, dtype=bool)
    result: Index = order[new[:-1] & new[1:]]
    return result


def overlapping(work: Patchwork, uv: Float, run: Run | None = None) -> tuple[npt.NDArray[np.bool_], Index]:
    """Return bool (charts,): whether the chart, none of whose triangles is turned over, covers some point twice; and
    the vertices of the borders that touch where they should not.
    """
    count = len(work.vertex_chart)
    corners = work.corners[~work.ghost]
    half = border_half_edges(corners, count)
    start, end = corners.ravel()[half], np.roll(corners, -1, axis=1).ravel()[half]
    loops, loop = connected_components(
        coo_matrix((np.ones(len(start), dtype=np.int8), (start, end)), (count, count)), directed=False
    )
    a, b = uv[start], uv[end]
    signed = np.bincount(loop[start], a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], loops)
    owner = np.full(loops, -1, dtype=np.int64)
    owner[loop[start]] = work.vertex_chart[start]
    slit = np.bincount(loop[start], minlength=loops) < 3  # there and back along one edge: encloses nothing
    outer = np.bincount(owner[(owner >= 0) & (signed > 0.0) & ~slit], minlength=work.charts)
    bad: npt.NDArray[np.bool_] = (outer != 1) & (np.diff(work.face_start) > 0)
    suspects = ~bad[work.vertex_chart[start]]
    start, end = start[suspects], end[suspects]
    touching = _crossing(start, end, work.vertex_chart[start], uv, work.charts, run)
    vertices = np.unique(np.concatenate((start[touching], end[touching])))
    bad[work.vertex_chart[vertices]] = True
    return bad, vertices


def _crossing(start: Index, end: Index, chart: Index, uv: Float, charts: int, run: Run | None) -> Index:
    """Return the indices of segments that touch another segment of the same chart without sharing an end with it."""
    length = np.linalg.norm(uv[end] - uv[start], axis=1)
    number = np.bincount(chart, minlength=charts)
    cell = np.bincount(chart, length, charts) / np.maximum(number, 1)
    cell = np.maximum(cell, 1e-12)
    segment = np.arange(len(start))
    found = []
    for level in range(GRID_LEVELS):
        piece, key = _cells(segment, uv[start], uv[end], chart, length, cell)
        order = np.argsort(key, kind="stable")
        piece, key = piece[order], key[order]
        head = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1]))) if len(key) else np.zeros(0, int)
        size = np.diff(head, append=len(key))
        crowded = np.zeros(charts, dtype=bool)
        if level < GRID_LEVELS - 1:
            work = np.bincount(chart[piece[head]], size.astype(float) ** 2, charts)
            crowded = work > CROWD * np.maximum(np.bincount(chart[piece], minlength=charts), 64)
        fine = ~crowded[chart[piece[head]]] & (size > 1)
        found.append(_pairs_touching(piece, head[fine], size[fine], start, end, uv, run))
        segment = segment[crowded[chart[segment]]]
        if not len(segment):
            break
        cell = cell * 0.5
    return np.concatenate(found)


def _cells(segment: Index, a: Float, b: Float, chart: Index, length: Float, cell: Float) -> tuple[Index, Index]:
    """Return for each cell that a segment may pass through the segment and a number of the cell (a hash)."""
    size = cell[chart[segment]]
    parts = np.minimum(np.ceil(length[segment] / size), 1 << 16).astype(np.int64)
    parts = np.maximum(parts, 1)
    piece = np.repeat(segment, parts)
    part = np.arange(len(piece)) - np.repeat(np.cumsum(parts) - parts, parts)
    share, size = np.repeat(parts, parts), np.repeat(size, parts)[:, None]
    delta = b[piece] - a[piece]
    one = np.floor((a[piece] + delta * (part / share)[:, None]) / size - 1e-9).astype(np.int64)
    two = np.floor((a[piece] + delta * ((part + 1) / share)[:, None]) / size + 1e-9).astype(np.int64)
    low, high = np.minimum(one, two), np.maximum(one, two)
    pieces, keys = [], []
    for dx in (0, 1, 2):
        for dy in (0, 1, 2):
            x, y = low[:, 0] + dx, low[:, 1] + dy
            inside = (x <= high[:, 0]) & (y <= high[:, 1])
            if not inside.any():
                continue
            pieces.append(piece[inside])
            hashed = x[inside] * 73856093 ^ y[inside] * 19349663
            keys.append((chart[piece[inside]] << 40) ^ (hashed & ((1 << 40) - 1)))
    if not pieces:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(pieces), np.concatenate(keys)


def _pairs_touching(
    piece: Index, head: Index, size: Index, start: Index, end: Index, uv: Float, run: Run | None
) -> Index:
    """Return the segments among `piece`, grouped from `head` on, that touch another one of their group."""
    member = np.repeat(head, size) + np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    later = np.repeat(head + size, size) - member - 1  # members of the same group that follow
    touched: list[Index] = []
    total = np.cumsum(later)
    low = 0
    while low < len(member):
        if run is not None:
            run.check()
        base = int(total[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(total, base + BATCH)))
        repeat = later[low:high]
        one = np.repeat(member[low:high], repeat)
        offset = np.arange(len(one)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
        i, j = piece[one], piece[one + 1 + offset]
        apart = (i != j) & (start[i] != start[j]) & (end[i] != end[j]) & (start[i] != end[j]) & (end[i] != start[j])
        i, j = i[apart], j[apart]
        hit = _touch(uv[start[i]], uv[end[i]], uv[start[j]], uv[end[j]])
        touched += (i[hit], j[hit])
        low = high
    return np.concatenate(touched) if touched else np.zeros(0, dtype=np.int64)


def _touch(a: Float, b: Float, c: Float, d: Float) -> npt.NDArray[np.bool_]:
    def side(p: Float, q: Float, r: Float) -> Float:
        value: Float = (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])
        return value

    boxes = (np.minimum(a, b) <= np.maximum(c, d)).all(axis=1) & (np.minimum(c, d) <= np.maximum(a, b)).all(axis=1)
    apart = (side(a, b, c) * side(a, b, d) > 0.0) | (side(c, d, a) * side(c, d, b) > 0.0)
    result: npt.NDArray[np.bool_] = boxes & ~apart
    return result
