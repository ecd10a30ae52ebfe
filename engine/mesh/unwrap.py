# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving a mesh texture coordinates: charts are found, laid flat and packed, and vertices split along their borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..progress import Run
from .charts import ChartOptions, connected, face_normals, segment, topology
from .flatten import Flat, Float, Index, Patchwork
from .halve import halve_largest
from .pack import pack
from .parametrize import parametrize
from .relay import relayed

AnyFloat = npt.NDArray[np.floating[Any]]
AnyInteger = npt.NDArray[np.integer[Any]]
EXPECTED_USE = 0.6
LEAST_USE = 0.615
"""If less of the page is covered, the largest charts are cut in pieces, which nest better, and packed once more."""
SPLIT_FACES = 2000
VOID = 1e-12
"""A face whose area is below this share of the mean square of its edges has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Unwrapped:
    """A mesh with one texture coordinate a vertex.

    `vertex_map` int32 (N,): the vertex of the source that each vertex is a copy of; `faces` int32 (F, 3): the source's
    faces in the source's order; `uvs` float32 (N, 2) in [0, 1], glTF's convention (V down, though nothing here depends
    on it); `charts` int32 (F,): the chart of each face, -1 for faces without area, whose corners share one point.
    """

    vertex_map: npt.NDArray[np.int32]
    faces: npt.NDArray[np.int32]
    uvs: npt.NDArray[np.float32]
    charts: npt.NDArray[np.int32]


def unwrap(
    positions: AnyFloat,
    faces: AnyInteger,
    options: ChartOptions | None = None,
    texture_size: int = 2048,
    gutter: int = 2,
    run: Run | None = None,
) -> Unwrapped:
    """Return the mesh with texture coordinates for a square texture of `texture_size` texels.

    `positions` (V, 3), `faces` (F, 3), counter-clockwise from outside; vertices of equal position should have been
    welded, because charts end where no vertices are shared. Charts lie `gutter` texels apart, are seen from outside
    without mirroring, fold nowhere and overlap nowhere. Raises EspalierError for a mesh that is empty, not finite,
    refers to vertices that it lacks, or has more separate parts than fit on the texture; Cancelled if `run` says so.
    """
    return relayed(lambda inner: _unwrap(positions, faces, options or ChartOptions(), texture_size, gutter, inner), run)


def _unwrap(
    positions: AnyFloat, faces: AnyInteger, options: ChartOptions, texture_size: int, gutter: int, run: Run
) -> Unwrapped:
    points, triangles = _checked(positions, faces)
    _, areas = face_normals(points, triangles)
    solid = _solid(points, triangles, areas)
    total = float(areas[solid].sum())
    if total <= 0.0:
        raise EspalierError("mesh_empty")
    texel = float(np.sqrt(total / (EXPECTED_USE * texture_size**2)))
    kept = np.flatnonzero(solid)
    inner = triangles[kept]
    topo = topology(points, inner)
    parts = int(connected(np.zeros(len(inner), dtype=np.int64), topo.pairs // 3).max()) + 1
    if parts * (1 + gutter) ** 2 > texture_size**2:
        raise EspalierError("unwrap_parts", parts=f"{parts:,}", size=texture_size)
    labels = segment(points, inner, topo, options, texel, run)
    run.progress(0.35)
    flat = parametrize(points, inner, topo, labels, texel, run)
    run.progress(0.8)
    texels = pack(flat.work, flat.uv, texture_size, gutter, run)
    if _use(flat.work, texels, texture_size) < LEAST_USE and len(kept) >= SPLIT_FACES:
        parted = halve_largest(points, inner, flat)
        again = pack(parted.work, parted.uv, texture_size, gutter, run)
        if _use(parted.work, again, texture_size) > _use(flat.work, texels, texture_size):
            flat, texels = parted, again
    vertex = np.empty(len(flat.uv), dtype=np.int64)
    vertex[flat.work.corners] = inner[flat.work.source]
    return _assemble(triangles, kept, flat, vertex, texels / texture_size)


def _use(work: Patchwork, texels: Float, page: int) -> float:
    """Return the share of the page that the charts cover."""
    corner = texels[work.corners]
    one, two = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    return float((one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).sum()) / (2.0 * page**2)


def _checked(positions: AnyFloat, faces: AnyInteger) -> tuple[Float, Index]:
    points = np.ascontiguousarray(positions, dtype=np.float64).reshape(-1, 3)
    triangles = np.ascontiguousarray(faces, dtype=np.int64).reshape(-1, 3)
    if not len(triangles):
        raise EspalierError("mesh_empty")
    if triangles.min() < 0 or triangles.max() >= len(points):
        raise EspalierError("mesh_invalid", reason="a face names a vertex that does not exist")
    if not np.isfinite(points[np.unique(triangles)]).all():
        raise EspalierError("mesh_not_finite")
    used = points[triangles[:, 0]]
    centre = used.mean(axis=0)
    points = np.nan_to_num(points - centre, posinf=0.0, neginf=0.0)
    size = float(np.abs(points[triangles]).max())
    return points / (size or 1.0), triangles


def _solid(points: Float, triangles: Index, areas: Float) -> npt.NDArray[np.bool_]:
    """Return which faces have an area, apart from rounding."""
    corner = points[triangles]
    squares = ((np.roll(corner, -1, axis=1) - corner) ** 2).sum(axis=(1, 2))
    result: npt.NDArray[np.bool_] = areas > VOID * squares
    return result


def _assemble(triangles: Index, kept: Index, flat: Flat, vertex: Index, uv: Float) -> Unwrapped:
    """Return the result in the order of the source's faces, with the faces without area laid on a point each."""
    work: Patchwork = flat.work
    faces = np.full(triangles.shape, -1, dtype=np.int64)
    charts = np.full(len(triangles), -1, dtype=np.int64)
    source = kept[work.source]
    faces[source] = work.corners
    charts[source] = work.face_chart
    void = np.flatnonzero(charts < 0)
    if len(void):
        any_copy = np.full(int(max(triangles.max(), vertex.max())) + 1, -1, dtype=np.int64)
        any_copy[vertex] = np.arange(len(vertex))
        corner = triangles[void]
        known = any_copy[corner]
        at = np.maximum(known.max(axis=1), 0)
        faces[void] = len(vertex) + np.arange(corner.size).reshape(-1, 3)
        vertex = np.concatenate((vertex, corner.ravel()))
        uv = np.concatenate((uv, np.repeat(uv[at], 3, axis=0)))
    return Unwrapped(
        vertex.astype(np.int32), faces.astype(np.int32), uv.clip(0.0, 1.0).astype(np.float32), charts.astype(np.int32)
    )
