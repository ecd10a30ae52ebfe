# SPDX-License-Identifier: GPL-3.0-or-later
"""Simplifying a mesh to a number of faces by quadric error, with two libraries.

fast-simplification removes 350,000 faces a second, but passes over the mesh with a rising threshold: with few faces
left it destroys corners, and it may leave an edge of four faces. libigl's qslim takes the best edge each time and
keeps the surface a manifold, at 80,000 faces a second. So the first does the bulk and the second the end. Both hold
the interpreter while they work, and are called in steps short enough to cancel between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..progress import Run
from .clean import check_faces
from .manifold import split_nonmanifold
from .morton import morton_order, order_in_space
from .rows import equal_rows, float_bits
from .topology import face_pieces, half_edges, used_vertices

ENOUGH = 1.005
"""How many times the target is near enough."""
STEP = 400_000
"""Faces removed in one call."""
BLOCK = 1_500_000
"""Faces given to one call; larger meshes are first thinned block by block."""
FINE = 100_000
"""Faces from which qslim goes on."""
LEAST = 4
"""Faces of a piece that cannot have fewer: a tetrahedron."""
BULK = 0.6
"""Progress when the fast library has done its part."""
SPARED = 2 * LEAST
"""Faces of a piece from which on the fast library takes away nothing, for it would take away the piece."""
AGGRESSIVENESS = (4.0, 5.5, 7.0, 8.5, 10.0)
"""How readily the library collapses; the next only where the one before no longer makes progress."""


def simplify(
    positions: npt.NDArray[Any],
    faces: npt.NDArray[Any],
    target: int,
    *,
    weld: bool = True,
    run: Run | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return positions float64 (V, 3) and faces int32 (F, 3) of about `target` faces, as near the source as it goes.

    `positions` (V, 3), `faces` int (F, 3). With `weld`, vertices of one position are one, so that no seam opens. A
    `target` of at least the number of faces returns the source as it is. No piece disappears: a source of many small
    ones keeps more faces than `target`, of which at least half go to its other pieces. Raises EspalierError mesh_empty,
    mesh_invalid, and Cancelled.
    """
    faces = check_faces(positions, faces)
    if target >= len(faces):
        return np.asarray(positions, np.float64), faces.astype(np.int32)
    sound = np.isfinite(positions).all(axis=1)[faces].all(axis=1)
    if not sound.any():
        raise EspalierError("mesh_empty")
    faces = faces[sound]
    used, faces = used_vertices(faces, len(positions))
    points = np.asarray(positions[used], np.float64)
    if weld:
        representative, kind = equal_rows(float_bits(points))
        if len(representative) < len(points):
            points, faces = points[representative], kind[faces]
    faces = faces[_distinct(faces)].astype(np.int32)
    if not len(faces):
        raise EspalierError("mesh_empty")
    order, faces, _ = order_in_space(points, faces)  # the libraries are twice as fast on it
    points, faces = points[order], faces.astype(np.int32)
    if run is not None:
        run.check()
    middle, size = points.mean(axis=0), float((points.max(axis=0) - points.min(axis=0)).max()) or 1.0
    points = (points - middle) / size
    piece = face_pieces(faces, half_edges(faces))
    tiny = np.bincount(piece)[piece] <= LEAST
    kept = _repair(points, faces[tiny])
    if run is not None:
        run.check()
    points, faces = _of_large_pieces(
        points, faces[~tiny], max(target - len(kept[1]), target // 2, LEAST), len(np.unique(piece[~tiny])), run
    )
    faces = np.concatenate([faces, kept[1] + np.int32(len(points))])
    points = np.concatenate([points, kept[0]])
    if not len(faces):
        raise EspalierError("mesh_empty")
    return points * size + middle, faces


def _of_large_pieces(
    points: npt.NDArray[np.float64], faces: npt.NDArray[np.int32], target: int, pieces: int, run: Run | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return the mesh, which has so many `pieces`, simplified to `target` faces."""
    before, bulk = len(faces), max(target, pieces * SPARED, FINE)
    if before > bulk:
        points, faces = _thin_blocks(points, faces, bulk, run)
        points, faces = _collapse(points, faces, bulk, before, run)
    points, faces = _repair(points, faces)
    if len(faces) > target:
        points, faces = _finish(points, faces, target, BULK if before > bulk else 0.0, run)
    return points, faces


def _distinct(faces: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which faces (F,) have three different vertices."""
    a, b, c = faces.T
    distinct: npt.NDArray[np.bool_] = (a != b) & (b != c) & (c != a)
    return distinct


def _thin_blocks(
    points: npt.NDArray[np.float64], faces: npt.NDArray[np.int32], target: int, run: Run | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return a mesh of at most `BLOCK` faces or so, simplified block by block with the borders of blocks kept."""
    import fast_simplification

    for _ in range(4):
        if len(faces) <= BLOCK:
            break
        goal = max(target, BLOCK * 3 // 4) / len(faces)
        order = morton_order(points[faces[:, 0]])
        parts, offset = [], 0
        for part in np.array_split(order, -(-len(faces) * 2 // BLOCK)):
            if run is not None:
                run.check()
            used, local = used_vertices(faces[part], len(points))
            thinned = fast_simplification.simplify(
                points[used],
                local.astype(np.int32),
                target_count=int(goal * len(part)),
                agg=AGGRESSIVENESS[0],
                preserve_border=True,
            )
            parts.append((thinned[0], thinned[1] + offset))
            offset += len(thinned[0])
        before = len(faces)
        points = np.concatenate([part[0] for part in parts])
        faces = np.concatenate([part[1] for part in parts])
        representative, kind = equal_rows(float_bits(points))
        points, faces = points[representative], kind[faces].astype(np.int32)
        faces = faces[_distinct(faces)]
        if len(faces) > 0.9 * before:
            break
    return points, faces


def _collapse(
    points: npt.NDArray[np.float64], faces: npt.NDArray[np.int32], target: int, before: int, run: Run | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return the mesh simplified step by step until `target` is reached or nothing helps."""
    import fast_simplification

    mood = 0
    while len(faces) > target * ENOUGH and mood < len(AGGRESSIVENESS):
        if run is not None:
            run.progress(BULK * (before - len(faces)) / max(before - target, 1))
        count = len(faces)
        goal = max(target, count - STEP)
        points, faces = fast_simplification.simplify(
            points, faces, target_count=goal, agg=AGGRESSIVENESS[mood], preserve_border=True
        )
        faces = faces[_distinct(faces)].astype(np.int32)
        if len(faces) > goal:
            mood += 1
    if run is not None:
        run.check()
    return points, faces


def _finish(
    points: npt.NDArray[np.float64], faces: npt.NDArray[np.int32], target: int, begin: float, run: Run | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return the manifold simplified to `target` faces edge by edge; progress has come to `begin`."""
    import igl

    first = len(faces)
    while len(faces) > target:
        if run is not None:
            run.progress(begin + (1 - begin) * (first - len(faces)) / (first - target))
        goal = max(target, len(faces) - FINE)
        fewer = igl.qslim(np.asfortranarray(points), np.asfortranarray(faces), goal)
        found, left = np.asarray(fewer[0], np.float64), np.asarray(fewer[1], np.int32)
        if len(left) >= len(faces) or not len(left) or not np.isfinite(found).all():
            break
        points, faces = found, left
    return points, faces


def _repair(
    points: npt.NDArray[np.float64], faces: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return the mesh without folded pairs of faces, and with what touches itself taken apart."""
    # Two faces on the same three vertices, one each way round, are a fold without inside: both go.
    _, kind = equal_rows(np.sort(faces, axis=1).astype(np.uint32))
    a, b, c = faces.T
    way = np.where((a < b).astype(int) + (b < c) + (c < a) == 2, 1, -1)
    surplus = np.bincount(kind, way)[kind] * way
    faces = faces[surplus > 0]
    if len(faces):
        points, faces, _ = split_nonmanifold(points, faces)
    used, whole = used_vertices(faces, len(points))
    return points[used], whole.astype(np.int32)
