# SPDX-License-Identifier: GPL-3.0-or-later
"""How good texture coordinates are: rasterised overlaps and gutters, flips, stretch, use of the page, thin charts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

NOBODY = 1 << 30
BATCH = 4_000_000


@dataclass(frozen=True)
class Atlas:
    """`doubled`: texels whose centre two triangles cover. `crowded`: covered texels with another chart's covered texel
    within the gutter. `flipped`: triangles of negative area; `void`: of none although they have one in space.
    `stretch`: L2, by area, 1 where lengths are kept. `thin`: charts narrower than four texels, cut from components with
    room for more.
    """

    charts: int
    use: float
    stretch: float
    flipped: int
    void: int
    doubled: int
    crowded: int
    thin: int

    def json(self) -> dict[str, Any]:
        return asdict(self)


def islands(faces: np.ndarray, count: int) -> np.ndarray:
    """Return int64 (F,): faces that share vertices have one number, from 0."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate((faces[:, :2], faces[:, 1:]))
    graph = coo_matrix((np.ones(len(edges), dtype=np.int8), edges.T), (count, count))
    label = connected_components(graph, directed=False)[1]
    return np.unique(label[faces[:, 0]], return_inverse=True)[1]


def components(faces: np.ndarray, count: int) -> np.ndarray:
    """Return int64 (F,): faces that meet in an edge of just two faces, wound alike, have one number."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    start, end = faces.ravel().astype(np.int64), np.roll(faces, -1, axis=1).ravel().astype(np.int64)
    key = np.minimum(start, end) * count + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    _, head, uses = np.unique(key[order], return_index=True, return_counts=True)
    one, two = order[head[uses == 2]], order[head[uses == 2] + 1]
    opposite = start[one] == end[two]
    one, two = one[opposite] // 3, two[opposite] // 3
    graph = coo_matrix((np.ones(len(one), dtype=np.int8), (one, two)), (len(faces), len(faces)))
    return connected_components(graph, directed=False)[1]


def rasterize(corners: np.ndarray, chart: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of the triangles `corners` (F, 3, 2), in texels, cover each texel's centre, and a chart there."""
    low = np.clip(np.floor(corners.min(axis=1) - 0.5), 0, size - 1).astype(np.int64)
    high = np.clip(np.ceil(corners.max(axis=1) - 0.5), 0, size - 1).astype(np.int64)
    width = high - low + 1
    boxes = width.prod(axis=1)
    total = np.cumsum(boxes)
    covered = np.zeros(size * size, dtype=np.int32)
    owner = np.full(size * size, -1, dtype=np.int64)
    first = 0
    while first < len(corners):
        base = int(total[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(total, base + BATCH)))
        face = np.repeat(np.arange(first, last), boxes[first:last])
        step = np.arange(len(face)) - (total[face] - boxes[face] - base)
        x, y = low[face, 0] + step % width[face, 0], low[face, 1] + step // width[face, 0]
        inside = np.ones(len(face), dtype=bool)
        for k in range(3):
            a, b = corners[face, k], corners[face, (k + 1) % 3]
            inside &= (b[:, 0] - a[:, 0]) * (y + 0.5 - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x + 0.5 - a[:, 0]) > 0.0
        texel = (y * size + x)[inside]
        covered += np.bincount(texel, minlength=size * size).astype(np.int32)
        owner[texel] = chart[face[inside]]
        first = last
    return covered.reshape(size, size), owner.reshape(size, size)


def inspect(
    positions: np.ndarray, vertex_map: np.ndarray, faces: np.ndarray, uvs: np.ndarray, size: int, gutter: int
) -> Atlas:
    """Return what there is to say about the texture coordinates `uvs` of a mesh whose vertices are copies."""
    chart = islands(faces, len(uvs))
    charts = int(chart.max()) + 1
    corners = uvs[faces].astype(np.float64) * size
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    flat = 0.5 * (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    point = positions[vertex_map[faces]].astype(np.float64)
    point = (point - point.mean(axis=(0, 1))) / np.abs(point).max()
    e, f = point[:, 1] - point[:, 0], point[:, 2] - point[:, 0]
    area = 0.5 * np.linalg.norm(np.cross(e, f), axis=1)
    good = (flat > 0.0) & (area > 1e-14)
    along = (e * two[:, 1:] - f * one[:, 1:])[good] / (2.0 * flat[good, None])
    across = (f * one[:, :1] - e * two[:, :1])[good] / (2.0 * flat[good, None])
    squared = 0.5 * ((along**2).sum(axis=1) + (across**2).sum(axis=1))
    stretch = np.sqrt((squared * area[good]).sum() * flat[good].sum()) / area[good].sum()
    covered, owner = rasterize(corners, chart, size)
    nearby = (2 * gutter + 1, 2 * gutter + 1)
    crowded = (owner >= 0) & (
        (maximum_filter(owner, size=nearby) != owner)
        | (minimum_filter(np.where(owner < 0, NOBODY, owner), size=nearby) != owner)
    )
    return Atlas(
        charts=charts,
        use=round(float((covered > 0).mean()), 4),
        stretch=round(float(stretch), 4),
        flipped=int((flat < 0.0).sum()),
        void=int(((flat == 0.0) & (area > 1e-14)).sum()),
        doubled=int((covered > 1).sum()),
        crowded=int(crowded.sum()),
        thin=thin_charts(vertex_map[faces], len(positions), chart, corners, flat),
    )


def thin_charts(
    source: np.ndarray, count: int, chart: np.ndarray, corners: np.ndarray, flat: np.ndarray, least: float = 4.0
) -> int:
    """Return how many charts are narrower than `least` texels although their component has 100 texels or more.

    A closed speck of 100 texels is less than six texels across: its halves are as thin as it is itself.

    Islands without area are faces laid on a point, not charts.
    """
    charts = int(chart.max()) + 1
    narrowest = np.full(charts, np.inf)
    for angle in np.linspace(0.0, np.pi, 16, endpoint=False):
        along = corners @ (np.cos(angle), np.sin(angle))
        low, high = np.full(charts, np.inf), np.full(charts, -np.inf)
        np.minimum.at(low, chart, along.min(axis=1))
        np.maximum.at(high, chart, along.max(axis=1))
        narrowest = np.minimum(narrowest, high - low)
    component = components(source, count)
    roomy = np.bincount(component, np.abs(flat))[component] >= 100.0
    cut = np.bincount(chart, roomy, charts) > 0
    return int((cut & (narrowest < least) & (np.bincount(chart, np.abs(flat), charts) > 0.0)).sum())
