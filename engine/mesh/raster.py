# SPDX-License-Identifier: GPL-3.0-or-later
"""Rasterizing triangles onto texels: which face covers the center of each texel, and where on the face that is.

Scanlines in NumPy: for each triangle and row the span between its two edges is found exactly, so that only texels that
are covered are ever touched. An edge is always evaluated from its lower to its upper end, whichever face asks: faces
that share an edge never both cover a texel center, and never leave one out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..progress import Run
from .rows import equal_rows, float_bits

ROWS_AT_ONCE = 1 << 19
"""Pairs of triangle and row that are worked on at a time."""
TEXELS_AT_ONCE = 1 << 20
"""Texels that are worked on at a time."""


@dataclass(slots=True, eq=False)
class Fragments:
    """Texels that triangles cover.

    `texel` int32 (N,) is row * width + column, row 0 being the top; `face` int32 (N,); `weights` float32 (N, 2) are the
    barycentric coordinates of the face's second and third corner at the texel's center (beyond 0 to 1 on a border).
    The first `inner` have their center on the face; the others are border.
    """

    texel: npt.NDArray[np.int32]
    face: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    inner: int = 0

    def __len__(self) -> int:
        return len(self.texel)


def rasterize(corners: npt.NDArray[Any], width: int, height: int, run: Run | None = None) -> Fragments:
    """Return every texel center that each triangle covers, by triangle and row; overlapping triangles each have theirs.

    `corners` (F, 3, 2) in texels, (0, 0) being the upper left corner of the image; a texel's center lies at half.
    A center on an edge belongs to the face to the right of or below the edge. Triangles without area, or with a
    coordinate that is not finite, cover nothing; what lies outside the image is left out.
    """
    parts: list[Fragments] = []
    total = len(corners)
    rows_of = _rows_of_triangles(corners, height)
    ends = np.cumsum(rows_of[1])
    start = 0
    while start < total:
        if run is not None:
            run.check()
        done = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, done + ROWS_AT_ONCE, side="right")), start + 1)
        chunk = slice(start, stop)
        parts += _scan(corners[chunk], start, rows_of[0][chunk], rows_of[1][chunk], width, run)
        start = stop
    if not parts:
        return Fragments(np.empty(0, np.int32), np.empty(0, np.int32), np.empty((0, 2), np.float32))
    texel, face, weights = ([getattr(part, name) for part in parts] for name in ("texel", "face", "weights"))
    return Fragments(np.concatenate(texel), np.concatenate(face), np.concatenate(weights), sum(map(len, texel)))


def _rows_of_triangles(corners: npt.NDArray[Any], height: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first row and the number of rows whose centers each triangle crosses."""
    finite = np.isfinite(corners).all(axis=(1, 2))
    y = np.where(finite[:, None], corners[:, :, 1], 0.0).astype(np.float64) - 0.5
    first = np.clip(np.ceil(y.min(axis=1)), 0, height).astype(np.int64)
    last = np.clip(np.ceil(y.max(axis=1)), 0, height).astype(np.int64)
    return first, np.where(finite, np.maximum(last - first, 0), 0)


def _scan(
    corners: npt.NDArray[Any],
    offset: int,
    first_row: npt.NDArray[np.int64],
    row_count: npt.NDArray[np.int64],
    width: int,
    run: Run | None,
) -> list[Fragments]:
    """Return the fragments of `corners`, whose first triangle is number `offset`."""
    kept = np.flatnonzero(row_count)
    if not len(kept):
        return []
    first_row, row_count = first_row[kept], row_count[kept]
    points = corners[kept].astype(np.float64) - 0.5
    triangle = np.repeat(np.arange(len(kept)), row_count)
    row = np.arange(len(triangle)) - np.repeat(np.cumsum(row_count) - row_count - first_row, row_count)
    left, right = _row_spans(points, triangle, row.astype(np.float64))
    begin = np.clip(np.ceil(left), 0, width).astype(np.int64)
    count = np.maximum(np.clip(np.ceil(right), 0, width).astype(np.int64) - begin, 0)

    spans = np.flatnonzero(count)
    triangle, row, begin, count = triangle[spans], row[spans], begin[spans], count[spans]
    base, step = _weights_at(points, triangle, begin, row)
    ends = np.cumsum(count)
    parts = []
    low = 0
    while low < len(count):
        if run is not None:
            run.check()
        done = int(ends[low - 1]) if low else 0
        high = max(int(np.searchsorted(ends, done + TEXELS_AT_ONCE, side="right")), low + 1)
        number = count[low:high]
        span = np.repeat(np.arange(high - low, dtype=np.int32), number)
        along = np.arange(len(span), dtype=np.int32) - np.repeat(
            (ends[low:high] - number - done).astype(np.int32), number
        )
        texel = (row[low:high] * width + begin[low:high]).astype(np.int32)[span] + along
        face = (kept[triangle[low:high]] + offset).astype(np.int32)[span]
        weights = base[low:high][span] + step[low:high][span] * along[:, None].astype(np.float32)
        parts.append(Fragments(texel, face, weights))
        low = high
    return parts


def _row_spans(
    points: npt.NDArray[np.float64], triangle: npt.NDArray[np.int64], row: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return where each row enters and leaves its triangle. Points have texel centers at whole numbers."""
    x, y = points[:, :, 0], points[:, :, 1]
    order = np.lexsort((x, y), axis=1)
    x, y = np.take_along_axis(x, order, axis=1), np.take_along_axis(y, order, axis=1)

    def slope(low: int, high: int) -> npt.NDArray[np.float64]:
        rise = y[:, high] - y[:, low]
        with np.errstate(over="ignore"):
            value = (x[:, high] - x[:, low]) / np.where(rise > 0, rise, 1.0)
        return np.where(np.isfinite(value), value, 0.0)  # an edge less high than a float can divide by crosses no row

    whole = np.stack([x[:, 0], y[:, 0], slope(0, 2)], axis=1)[triangle]
    lower = np.stack([x[:, 0], y[:, 0], slope(0, 1)], axis=1)
    upper = np.stack([x[:, 1], y[:, 1], slope(1, 2)], axis=1)
    broken = np.where((row < y[triangle, 1])[:, None], lower[triangle], upper[triangle])
    one = whole[:, 0] + (row - whole[:, 1]) * whole[:, 2]
    other = broken[:, 0] + (row - broken[:, 1]) * broken[:, 2]
    return np.minimum(one, other), np.maximum(one, other)


def gradients(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return float64 (F, 2, 2): how the weights of the second and third corner grow with x and y; 0 without area."""
    one, two = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        inverse = 1.0 / area
        rows = np.stack([two[:, 1], -two[:, 0], -one[:, 1], one[:, 0]], axis=1) * inverse[:, None]
    return np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, 0.0).reshape(-1, 2, 2)


def _weights_at(
    points: npt.NDArray[np.float64],
    triangle: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
    row: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the two weights at the start of each span, and what they grow by from texel to texel."""
    gradient = gradients(points)[triangle]
    origin = points[triangle, 0]
    x, y = column - origin[:, 0], row - origin[:, 1]
    base = gradient[:, :, 0] * x[:, None] + gradient[:, :, 1] * y[:, None]
    return base.astype(np.float32), gradient[:, :, 0].astype(np.float32)


def cover(
    uvs: npt.NDArray[Any],
    uv_faces: npt.NDArray[Any],
    size: int,
    border: float = 1.0,
    run: Run | None = None,
) -> Fragments:
    """Return one fragment for each texel of a square image that the UV triangles cover or border on.

    `uvs` (N, 2) with V pointing down, `uv_faces` (F, 3), `size` texels on a side. Where faces overlap, the last has the
    texel. `border` adds the texels outside the charts that bilinear filtering within them can read, times `border`:
    those whose center lies within sqrt(2) * `border` texels of a chart's edge. Their weights continue the nearest face
    beyond its edge, by at most once its own size; so charts too thin to hold any texel center have texels too.
    """
    points = np.asarray(uvs, dtype=np.float64) * size
    inner = rasterize(points[uv_faces], size, size, run)
    owner = np.full(size * size, -1, dtype=np.int32)
    owner[inner.texel] = np.arange(len(inner), dtype=np.int32)
    last = owner[inner.texel] == np.arange(len(inner), dtype=np.int32)
    if not last.all():
        inner = Fragments(inner.texel[last], inner.face[last], inner.weights[last])
    inner.inner = len(inner)
    if border <= 0:
        return inner
    outer = _border(points, uv_faces, size, float(np.sqrt(2.0)) * border, owner, run)
    return Fragments(
        np.concatenate([inner.texel, outer.texel]),
        np.concatenate([inner.face, outer.face]),
        np.concatenate([inner.weights, outer.weights]),
        inner.inner,
    )


def chart_edges(points: npt.NDArray[np.float64], uv_faces: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return int64 (E,): the corners (3 * face + corner) whose edge to the next corner no other face shares in UV.

    Faces without area in UV have no edges. `points` (N, 2) may repeat a position.
    """
    _, kind = equal_rows(float_bits(points))
    corners = points[uv_faces]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    solid = np.flatnonzero(np.isfinite(area) & (area != 0))
    start = kind[uv_faces[solid]]
    end = np.roll(start, -1, axis=1)
    keys = ((np.minimum(start, end) << 32) | np.maximum(start, end)).reshape(-1)
    order = np.argsort(keys)
    ordered = keys[order]
    fresh = np.ones(len(keys) + 1, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:-1])
    single = order[fresh[1:] & fresh[:-1]]
    return np.asarray(3 * solid[single // 3] + single % 3)


def _border(
    points: npt.NDArray[np.float64],
    uv_faces: npt.NDArray[Any],
    size: int,
    radius: float,
    owner: npt.NDArray[np.int32],
    run: Run | None,
) -> Fragments:
    """Return the texels within `radius` of a chart's edge that `owner` (texels,) has as -1, with the nearest face."""
    corner = chart_edges(points, uv_faces)
    face = (corner // 3).astype(np.int64)
    begin = points[uv_faces[face, corner % 3]] - 0.5
    end = points[uv_faces[face, (corner + 1) % 3]] - 0.5
    near: list[tuple[npt.NDArray[Any], ...]] = []
    first = np.clip(np.ceil(np.minimum(begin[:, 1], end[:, 1]) - radius), 0, size).astype(np.int64)
    rows = np.clip(np.floor(np.maximum(begin[:, 1], end[:, 1]) + radius) + 1, 0, size).astype(np.int64) - first
    totals = np.cumsum(np.maximum(rows, 0))
    low = 0
    while low < len(corner):
        if run is not None:
            run.check()
        done = int(totals[low - 1]) if low else 0
        high = max(int(np.searchsorted(totals, done + ROWS_AT_ONCE // 4, side="right")), low + 1)
        near.append(
            _near_edges(begin[low:high], end[low:high], first[low:high], rows[low:high], radius, size, owner, low)
        )
        low = high
    if not near:
        return Fragments(np.empty(0, np.int32), np.empty(0, np.int32), np.empty((0, 2), np.float32))
    texel, edge, distance = (np.concatenate(column) for column in zip(*near, strict=True))
    nearest_last = np.lexsort((-distance, texel))
    texel, edge = texel[nearest_last], edge[nearest_last]
    keep = np.ones(len(texel), dtype=bool)
    np.not_equal(texel[1:], texel[:-1], out=keep[:-1])
    texel, edge = texel[keep], edge[keep]
    by_face = np.argsort(edge, kind="stable")
    texel, edge = texel[by_face], edge[by_face]
    weights = _continued(points[uv_faces[face[edge]]] - 0.5, corner[edge] % 3, texel % size, texel // size)
    return Fragments(texel.astype(np.int32), face[edge].astype(np.int32), weights)


def _near_edges(
    begin: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    first: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    radius: float,
    size: int,
    owner: npt.NDArray[np.int32],
    offset: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the free texels near each edge, the edge's number from `offset`, and the squared distance."""
    rows = np.maximum(rows, 0)
    edge = np.repeat(np.arange(len(begin)), rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows - first, rows)
    a, b = begin[edge], end[edge]
    rise = b[:, 1] - a[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.clip((row - radius - a[:, 1]) / rise, 0.0, 1.0)
        far = np.clip((row + radius - a[:, 1]) / rise, 0.0, 1.0)
    flat = np.abs(rise) < 1e-12
    near, far = np.where(flat, 0.0, near), np.where(flat, 1.0, far)
    run_x = b[:, 0] - a[:, 0]
    x_near, x_far = a[:, 0] + near * run_x, a[:, 0] + far * run_x
    column = np.clip(np.ceil(np.minimum(x_near, x_far) - radius), 0, size).astype(np.int64)
    count = np.clip(np.floor(np.maximum(x_near, x_far) + radius) + 1, 0, size).astype(np.int64) - column
    count = np.maximum(count, 0)
    span = np.repeat(np.arange(len(edge)), count)
    x = np.arange(len(span)) - np.repeat(np.cumsum(count) - count - column, count)
    texel = row[span] * size + x
    free = owner[texel] < 0
    texel, x, span = texel[free], x[free], span[free]
    at, origin = edge[span], a[span]
    direction = b[span] - origin
    offset_x, offset_y = x - origin[:, 0], row[span] - origin[:, 1]
    length = direction[:, 0] ** 2 + direction[:, 1] ** 2
    along = (offset_x * direction[:, 0] + offset_y * direction[:, 1]) / np.where(length > 0, length, 1.0)
    along = np.clip(along, 0.0, 1.0)
    distance = (offset_x - along * direction[:, 0]) ** 2 + (offset_y - along * direction[:, 1]) ** 2
    within = distance <= radius * radius
    return texel[within], at[within] + offset, distance[within]


def _continued(
    triangles: npt.NDArray[np.float64],
    corner: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
    row: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Return the weights at texel centers beyond the edge that starts at `corner` of each triangle."""
    place = np.arange(len(corner))
    center = np.stack([column, row], axis=1).astype(np.float64)
    a, b = triangles[place, corner], triangles[place, (corner + 1) % 3]
    side = b - a
    length = side[:, 0] ** 2 + side[:, 1] ** 2
    along = ((center - a) * side).sum(axis=1) / np.where(length > 0, length, 1.0)
    on_edge = a + np.clip(along, 0.0, 1.0)[:, None] * side
    gradient = gradients(triangles)
    inside = np.einsum("nij,nj->ni", gradient, on_edge - triangles[:, 0])
    beyond = np.einsum("nij,nj->ni", gradient, center - on_edge)
    reach = np.maximum(np.abs(beyond).max(axis=1), np.abs(beyond.sum(axis=1)))
    return np.asarray(inside + beyond / np.maximum(reach, 1.0)[:, None], dtype=np.float32)
