# SPDX-License-Identifier: GPL-3.0-or-later
"""Remeshing: any triangles, however broken, into one clean closed manifold without double walls.

The surface at `band` voxels from the source, by dual contouring of the unsigned distance in only those voxels that it
crosses; shells that lie inside another are dropped, and what is left is drawn back onto the source. So a solid comes
out as its outer surface, and a sheet as a closed skin around it, as thick as the drawing back leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EspalierError
from ..progress import Run
from .closest import Surface
from .dual_contour import Cells, Quads, crossed_cells, crossing, dual_quads, dual_vertices, fans, twin_vertices
from .field import Field, measure
from .morton import order_in_space
from .project import project_back, split_quads
from .shells import components, cut_short, visible
from .voxels import HALF_DIAGONAL, Band, Grid, brick_keys, narrow_band

TOLERANCE = 0.1
"""How exact, in voxels, the surface is laid that is drawn back wholly; one that stays where it is laid is exact."""
MARGIN = 3.0
"""Voxels of empty grid beyond the surface."""
GROWTH, GROWTHS = 2, 4
"""How many bricks the search goes on at a time where the outside reaches farther than expected, and how often."""
MOST_VOXELS = 2048
"""The finest resolution."""


@dataclass(frozen=True, slots=True)
class Contour:
    """A field and the quads that separate its signs; those to keep are `kept` bool (Q,)."""

    field: Field
    cells: Cells
    quads: Quads
    kept: npt.NDArray[np.bool_]


def remesh(
    positions: npt.NDArray[Any],
    faces: npt.NDArray[Any],
    resolution: int = 512,
    band: float = 1.0,
    project: float = 0.9,
    *,
    drop_hidden: bool = True,
    voxel: float | None = None,
    surface: Surface | None = None,
    run: Run | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return positions float64 (V, 3) and faces int32 (F, 3) of a closed, oriented 2-manifold around the source.

    `positions` (V, 3), `faces` int (F, 3); a voxel is the longest side of their box / `resolution`, or `voxel` where
    that is given. `band`, in voxels, is how far from the source the surface is first laid: gaps narrower than twice
    that are closed; less than half a voxel's diagonal would leave holes and is raised to it. `project`, 0 to 1, is how
    far it is then drawn back. `drop_hidden` leaves out shells inside another. `surface` saves building the tree again.
    Raises EspalierError mesh_empty, mesh_invalid, and Cancelled.
    """
    if surface is None:
        vertices, faces, _ = order_in_space(positions, faces)
        surface = Surface(positions[vertices], faces, run=run)
    low, high = _box(surface)
    size = float((high - low).max()) / resolution if voxel is None else float(voxel)
    if not (size > 0 and np.isfinite(size)) or (high - low).max() / size > MOST_VOXELS:
        raise EspalierError("mesh_invalid", reason=f"it cannot be divided into at most {MOST_VOXELS} voxels a side")
    band = max(float(band), HALF_DIAGONAL)
    _report(run, 0.15)
    grid = Grid.around(np.stack([low, high]), size, (band + MARGIN) * size)
    found = narrow_band(surface, grid, band * size, run)
    _report(run, 0.35)
    contour = _contour(surface, grid, found, band, drop_hidden, TOLERANCE * project, run)
    _report(run, 0.65)
    points, quads, extra = _geometry(contour, run)
    points = grid.origin + points * size
    _report(run, 0.72)
    points = project_back(surface, points, quads, extra, float(project), size, run)
    _report(run, 0.95)
    return points, np.concatenate([split_quads(points, quads, run), extra]).astype(np.int32)


def _box(surface: Surface) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the least and the greatest coordinates (3,) of the vertices that faces use."""
    used = np.zeros(len(surface.positions), np.bool_)
    used[surface.faces] = True
    vertices = np.asarray(surface.positions[used], np.float64)
    vertices = vertices[np.isfinite(vertices).all(axis=1)]
    return vertices.min(axis=0), vertices.max(axis=0)


def _report(run: Run | None, fraction: float) -> None:
    if run is not None:
        run.progress(fraction)


def _contour(
    surface: Surface, grid: Grid, band: Band, distance: float, drop_hidden: bool, tolerance: float, run: Run | None
) -> Contour:
    """Return the contoured band: of that near the outside alone where this proves enough, else of all of it."""
    sides = band.exposed(distance) if drop_hidden else np.ones((len(band.bricks), 2), np.bool_)
    field: Field | None = None
    for turn in range(GROWTHS + 3):
        if turn > GROWTHS:
            sides[:] = True
        field = measure(surface, grid, band, sides, distance, field, tolerance, run)
        cells = crossed_cells(field.corners, field.values)
        quads = dual_quads(cells, field.values)
        _report(run, 0.35 + 0.05 * turn)
        label = components(quads, cells.vertices)
        lacking, ends = cut_short(label, cells, quads, field.corners, band)
        shown = visible(label, quads, field.corners, lacking) if drop_hidden else ~lacking
        kept = shown[label[quads.ring[:, 0]]]
        guessed = kept & ~(field.exact[quads.low] & field.exact[quads.high])
        more = np.concatenate([ends, quads.cells[guessed, 0]])
        if sides.all() and lacking.any() and tolerance > 0:
            tolerance, field = 0.0, None  # a guess was on the wrong side, and led the surface out of the band
            continue
        if sides.all() or not len(more):
            break
        sides[_near(band, grid, field.corners.place[cells.corners[more, 0]].astype(np.int64) // 2)] = True
    if field is None or not kept.any():
        raise EspalierError("mesh_invalid", reason="nothing is left of it at this resolution")
    return Contour(field, cells, quads, kept)


def _near(band: Band, grid: Grid, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which bricks of the band (N,) are at most `GROWTH` bricks from one of `places` (M, 3)."""
    steps = np.arange(-GROWTH, GROWTH + 1)
    offsets = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    starts = np.unique(places, axis=0)
    wanted = np.unique(np.maximum(starts[:, None] + offsets, 0).reshape(-1, 3), axis=0)
    return np.isin(brick_keys(band.bricks, grid), brick_keys(wanted, grid))


def _geometry(
    contour: Contour, run: Run | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return vertices (V, 3) in voxels, quads (Q, 4), and the triangles (N, 3) that stand for special quads."""
    corners, values = contour.field.corners, contour.field.values
    cells, quads = contour.cells, contour.quads.only(contour.kept)
    wanted = np.zeros(len(cells.code), np.bool_)
    wanted[quads.cells] = True
    points = dual_vertices(cells, corners, values, wanted)
    _report(run, 0.68)
    sides, on_sides = twin_vertices(cells, quads, corners, values, len(points))
    special = np.flatnonzero((sides >= 0).any(axis=1))
    middles = crossing(corners, values, quads.low[special], quads.high[special])
    triangles = fans(quads, sides, special, len(points) + len(on_sides))
    points = np.concatenate([points, on_sides, middles])
    plain = np.ones(len(quads.ring), np.bool_)
    plain[special] = False
    ring = quads.ring[plain]
    used = np.zeros(len(points), np.bool_)
    used[ring] = True
    used[triangles] = True
    number = np.cumsum(used) - 1
    return points[used], number[ring], number[triangles]
