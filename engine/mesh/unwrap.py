# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving a mesh texture coordinates: charts are found, laid flat and packed, and vertices split along their borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..backends.base import Run
from ..errors import EspalierError
from .charts import ChartOptions, face_normals, segment, topology
from .flatten import Float, Index, Patchwork
from .pack import pack
from .parametrize import Flat, parametrize

EXPECTED_USE = 0.6
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
    positions: npt.NDArray[np.floating],
    faces: npt.NDArray[np.integer],
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
    points, triangles = _checked(positions, faces)
    if run is not None:
        run.check()
    _, areas = face_normals(points, triangles)
    solid = _solid(points, triangles, areas)
    total = float(areas[solid].sum())
    if total <= 0.0:
        raise EspalierError("mesh_empty")
    texel = float(np.sqrt(total / (EXPECTED_USE * texture_size**2)))
    kept = np.flatnonzero(solid)
    inner = triangles[kept]
    topo = topology(points, inner)
    labels = segment(points, inner, topo, options or ChartOptions(), texel, run)
    if run is not None:
        run.progress(0.35)
    flat = parametrize(points, inner, topo, labels, texel, run)
    vertex = np.empty(len(flat.uv), dtype=np.int64)
    vertex[flat.work.corners] = inner[flat.work.source]
    if run is not None:
        run.progress(0.8)
    texels = pack(flat.work, flat.uv, texture_size, gutter, run)
    return _assemble(triangles, kept, flat, vertex, texels / texture_size)


def _checked(positions: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]) -> tuple[Float, Index]:
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
