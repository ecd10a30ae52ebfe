# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing the holes of charts with faces that are there for the flattening only, lest a hole turn inside out."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .charts import totals
from .flatten import Float, Index, Patchwork
from .overlap import border_half_edges


def close_holes(
    positions: Float, faces: Index, pairs: Index, labels: Index, work: Patchwork
) -> tuple[Float, Index, Index, Index] | None:
    """Return positions, faces, pairs and labels with a fan of faces in each border of a chart but its longest, around a
    vertex in its middle; None where no chart has more than one border.

    `work` are the charts `labels` of the surface. The new faces follow the given ones.
    """
    half = border_half_edges(work.corners, len(work.vertex_chart))
    if not len(half):
        return None
    following = half - half % 3 + (half + 1) % 3
    start, end = work.corners.ravel()[half], work.corners.ravel()[following]
    count = len(work.vertex_chart)
    graph = coo_matrix((np.ones(len(start), dtype=np.int8), (start, end)), (count, count))
    loop = np.unique(connected_components(graph, directed=False)[1][start], return_inverse=True)[1]
    source = work.source[half // 3] * 3 + half % 3
    first = faces.ravel()[source]
    second = faces.ravel()[source - source % 3 + (source + 1) % 3]
    length = np.linalg.norm(positions[second] - positions[first], axis=1)
    loops = int(loop.max(initial=-1)) + 1
    total, number = totals(loop, length, loops), np.bincount(loop, minlength=loops)
    chart = np.zeros(loops, dtype=np.int64)
    chart[loop] = work.vertex_chart[start]
    order = np.lexsort((total, chart))
    inner = np.ones(loops, dtype=bool)
    inner[order[np.flatnonzero(np.concatenate((np.diff(chart[order]) != 0, [True])))]] = False
    inner &= number > 2
    if not inner.any():
        return None
    kept = np.flatnonzero(inner[loop])
    hole = (np.cumsum(inner) - 1)[loop[kept]]
    holes = int(inner.sum())
    centre = np.stack([totals(hole, positions[first[kept], k], holes) for k in range(3)], axis=1)
    centre /= number[inner][:, None]
    fan = np.stack((second[kept], first[kept], len(positions) + hole), axis=1)
    base = 3 * (len(faces) + np.arange(len(kept)))
    rim = np.stack((source[kept], base), axis=1)
    ending = np.full(count, -1, dtype=np.int64)
    ending[end[kept]] = base
    before = ending[start[kept]]  # the fan that lies before this one around the hole
    spokes = np.stack((base + 1, before + 2), axis=1)[before >= 0]
    return (
        np.concatenate((positions, centre)),
        np.concatenate((faces, fan)),
        np.concatenate((pairs, rim, spokes)),
        np.concatenate((labels, chart[loop[kept]])),
    )
