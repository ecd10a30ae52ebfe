# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning a triangle mesh: what files and generators leave behind, before it is worked on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..progress import Run
from .holes import hole_fans
from .manifold import split_nonmanifold
from .morton import order_in_space
from .normals import dot, face_crosses
from .orient import flipped_faces
from .rows import equal_rows, float_bits
from .topology import HalfEdges, connected, face_pieces, half_edges, neighbors, used_vertices

CRUMBS = 0.01
"""The share of the whole area that tiny pieces may make up together; beyond that they are the mesh."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """`positions` float64 (V, 3), `faces` int32 (F, 3), and the face of the source each comes from, int64 (F,).

    `source` is -1 for a face that closes a hole.
    """

    positions: npt.NDArray[np.float64]
    faces: npt.NDArray[np.int32]
    source: npt.NDArray[np.int64]


def clean(
    positions: npt.NDArray[Any],
    faces: npt.NDArray[Any],
    *,
    weld: float = 1e-6,
    smallest: float = 1e-5,
    hole: float = 0.03,
    orient: bool = True,
    manifold: bool = False,
    run: Run | None = None,
) -> Cleaned:
    """Return the mesh welded, without degenerate, duplicate and stray faces, with small holes closed, and oriented.

    `positions` (V, 3), `faces` int (F, 3); faces with a position that is not a number are dropped. Vertices of equal
    float32 position are welded, those of open edges within `weld` times the size of the mesh too (size is the longest
    side of its box). Vertices and faces come in the order of space. Pieces of less than `smallest` of the whole area
    are dropped, up to a hundredth of it together. Holes of a perimeter below `hole` times the size are closed.
    `manifold` splits what touches itself. Raises EspalierError mesh_empty, mesh_invalid, and Cancelled.
    """
    faces = check_faces(positions, faces)
    step = _Steps(run, 8)
    source = np.arange(len(faces))
    finite = np.isfinite(positions).all(axis=1)
    if not finite.all():
        source = np.flatnonzero(finite[faces].all(axis=1))
        faces = faces[source]
    if not len(source):
        raise EspalierError("mesh_empty")
    step()
    # Faces without a finite position are gone; what no face uses must not disturb the welding.
    used, faces = used_vertices(faces, len(positions))
    positions = np.asarray(positions[used], np.float64)
    size = float((positions.max(axis=0) - positions.min(axis=0)).max())
    if not (size > 0 and np.isfinite(size)):
        raise EspalierError("mesh_empty")
    positions, faces, source = _welded(positions, faces, source)
    step()
    edges = half_edges(faces)
    if weld > 0 and (target := _weld_open_edges(positions, faces, edges, weld * size)) is not None:
        faces = target[faces]
        edges = half_edges(faces)
    step()
    crosses = face_crosses(positions, faces)
    kept = _sound_faces(faces, crosses, edges, size)
    if len(kept) < len(faces):
        faces, source, crosses = faces[kept], source[kept], crosses[kept]
        if not len(faces):
            raise EspalierError("mesh_empty")
        edges = half_edges(faces)
    piece, area = face_pieces(faces, edges), np.sqrt(dot(crosses, crosses))
    step()
    kept = _large_pieces(piece, area, smallest)
    if len(kept) < len(faces):
        faces, source, crosses, area = faces[kept], source[kept], crosses[kept], area[kept]
        piece = np.unique(piece[kept], return_inverse=True)[1]
        edges = half_edges(faces)
    step()
    if orient:
        turned = flipped_faces(positions, faces, edges, crosses, piece)
        if turned.any():
            faces = np.where(turned[:, None], faces[:, ::-1], faces)
            edges = half_edges(faces)
    step()
    if hole > 0:
        middles, fans = hole_fans(positions, faces, edges, area / 2, piece, hole * size)
        positions, faces = np.concatenate([positions, middles]), np.concatenate([faces, fans])
        source = np.concatenate([source, np.full(len(fans), -1)])
    step()
    if manifold:
        positions, split, old = split_nonmanifold(positions, faces)
        faces, source = split.astype(np.int64), source[old]
    step()
    used, faces = used_vertices(faces, len(positions))
    return Cleaned(positions[used], faces.astype(np.int32), source)


def check_faces(positions: npt.NDArray[Any], faces: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return `faces` as int64 (F, 3). Raises EspalierError where the arrays are no triangle mesh."""
    if positions.ndim != 2 or positions.shape[1] != 3 or faces.ndim != 2 or faces.shape[1:] != (3,):
        raise EspalierError("mesh_invalid", reason="its arrays are not rows of three")
    if not len(faces) or not len(positions):
        raise EspalierError("mesh_empty")
    faces = faces.astype(np.int64)
    if faces.min() < 0 or faces.max() >= len(positions):
        raise EspalierError("mesh_invalid", reason="a face names a vertex that is not there")
    return faces


class _Steps:
    """Progress through a number of steps of the same size."""

    def __init__(self, run: Run | None, count: int) -> None:
        self._run, self._count, self._done = run, count, 0

    def __call__(self) -> None:
        self._done += 1
        if self._run is not None:
            self._run.progress(self._done / self._count)


def _welded(
    positions: npt.NDArray[np.float64], faces: npt.NDArray[np.int64], source: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return vertices, one for each position, and faces, both in the order of space: what follows is twice as fast."""
    representative, kind = equal_rows(float_bits(positions))
    positions = positions[representative]
    vertices, faces, order = order_in_space(positions, kind[faces])
    return positions[vertices], faces, source[order]


def _weld_open_edges(
    positions: npt.NDArray[np.float64], faces: npt.NDArray[np.int64], edges: HalfEdges, tolerance: float
) -> npt.NDArray[np.int64] | None:
    """Return the vertex (V,) that each is welded to: those of open edges that share a cell of either of two grids.

    None where nothing is welded.
    """
    halves = edges.order[edges.start[edges.count == 1]]
    if not len(halves):
        return None
    open_ = np.unique(np.concatenate([faces.ravel()[halves], faces[halves // 3, (halves + 1) % 3]]))
    pairs = []
    for shift in (0.0, 0.5):
        cell = np.floor((positions[open_] - positions.min(axis=0)) / (2 * tolerance) + shift).astype(np.int64)
        representative, kind = equal_rows(np.ascontiguousarray(cell).view(np.uint32).reshape(len(cell), -1))
        pairs.append(np.stack([np.arange(len(open_)), representative[kind]], axis=1))
    label = connected(len(open_), *np.concatenate(pairs).T)
    first = np.unique(label, return_index=True)[1]
    if len(first) == len(open_):
        return None
    target = np.arange(len(positions))
    target[open_] = open_[first[label]]
    return target


def _sound_faces(
    faces: npt.NDArray[np.int64], crosses: npt.NDArray[np.float64], edges: HalfEdges, size: float
) -> npt.NDArray[np.int64]:
    """Return the faces that have an area and are not another's duplicate, whichever way round."""
    sound = dot(crosses, crosses) > (1e-14 * size * size) ** 2
    # Of two faces on the same vertices all three edges have the same two faces, or one has more than two.
    beyond = neighbors(len(faces), edges)
    own = np.arange(len(faces))
    doubled = (beyond[:, 0] == beyond[:, 1]) & (beyond[:, 1] == beyond[:, 2]) & (beyond[:, 0] != own)
    doubled[edges.order[np.repeat(edges.count > 2, edges.count)] // 3] = True
    asked = np.flatnonzero(doubled & sound)
    ordered = np.sort(faces[asked], axis=1).astype(np.uint32)
    sound[asked] = False
    sound[asked[equal_rows(ordered)[0]]] = True
    return np.flatnonzero(sound)


def _large_pieces(
    piece: npt.NDArray[np.int64], areas: npt.NDArray[np.float64], smallest: float
) -> npt.NDArray[np.int64]:
    """Return the faces of the pieces that are not crumbs."""
    area = np.bincount(piece, areas)
    order = np.argsort(area, kind="stable")
    total = area.sum()
    crumb = (area[order] < smallest * total) & (np.cumsum(area[order]) <= CRUMBS * total)
    dropped = np.zeros(len(area), np.bool_)
    dropped[order[crumb]] = True
    return np.flatnonzero(~dropped[piece])
