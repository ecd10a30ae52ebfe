# SPDX-License-Identifier: GPL-3.0-or-later
"""Laying every chart into the plane without folds: what cannot be laid flat is mended, and else split and tried again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..backends.base import Run
from .charts import Topology, connected
from .flatten import Float, Index, Patchwork, Stiffness, as_rigid_as_possible, cut_out, jacobians, project
from .chart_handles import open_handles
from .chart_holes import close_holes
from .overlap import overlapping
from .untangle import folded, relax

Flags = npt.NDArray[np.bool_]
RIGID_STEPS = 8
REPAIRS = ((3, 30), (8, 40))
"""Rings of faces around a fold that are moved to undo it, and the steps that this may take."""
SHAVES = 4
SHARE = (0.35, 0.75)
"""The part of the whole unwrapping that this is, for the progress."""
FINEST_TEXELS = 0.02
"""Triangles are laid out at least this high, so that rounding to float32 cannot turn them over."""
STRETCH_LIMIT = 1.2
"""A chart stretched more than this (L2, Sander et al. 2001) is split."""
ROUNDS = 14
"""Charts that still fold after so many halvings fall into single triangles."""


@dataclass(slots=True, eq=False)
class Flat:
    """Charts in the plane, in the unit of the surface: `uv` float64 (N, 2), and the surface cut into them."""

    work: Patchwork
    uv: Float


def parametrize(
    positions: Float, faces: Index, topo: Topology, labels: Index, texel: float, run: Run | None = None
) -> Flat:
    """Return the charts `labels` (F,) of the surface laid flat, split where that was needed.

    `texel` is the expected size of a texel, in the unit of the positions. No triangle of the result is turned over and no chart covers a point twice.
    """
    settled = np.full(len(faces), -1, dtype=np.int64)
    place = np.zeros((len(faces), 3, 2))
    pairs = topo.pairs
    pending = _part_pillows(faces, labels)
    finest = FINEST_TEXELS * texel
    number = 0
    for turn in range(ROUNDS + 1):
        if turn == ROUNDS:
            pending[pending >= 0] = np.arange(int((pending >= 0).sum()))
        pairs = open_handles(positions, faces, pairs, pending, run)
        pending = _connected(pending, pairs)
        work = cut_out(positions, faces, pairs, pending, finest)
        closed = close_holes(positions, faces, pairs, pending, work)
        if closed is None:
            uv, good = _flatten(positions, faces, work, run)
        else:
            work = cut_out(*closed, finest, len(faces))
            uv, good = _flatten(closed[0], closed[1], work, run)
        fine = good[work.face_chart] & ~work.ghost
        source = work.source[fine]
        settled[source] = number + work.face_chart[fine]
        place[source] = uv[work.corners[fine]]
        number += work.charts
        pending[source] = -1
        if run is not None:
            run.progress(SHARE[0] + (SHARE[1] - SHARE[0]) * (turn + 1.0) / (turn + 2.0))
        if not (pending >= 0).any():
            break
        pending = _halve(positions, faces, pairs, pending)
    work = cut_out(positions, faces, pairs, _renumber(settled), finest)
    uv = np.empty((len(work.vertex_chart), 2))
    uv[work.corners] = place[work.source]
    return Flat(work, uv)


def _part_pillows(faces: Index, labels: Index) -> Index:
    """Return the labels with charts of two faces on the same three vertices, back to back, taken apart."""
    order = np.argsort(labels, kind="stable")
    number = np.bincount(labels)
    first = (np.cumsum(number) - number)[number == 2]
    one, two = order[first], order[first + 1]
    pillow = (np.sort(faces[one], axis=1) == np.sort(faces[two], axis=1)).all(axis=1)
    result = labels.copy()
    result[two[pillow]] = len(number) + np.arange(int(pillow.sum()))
    return result


def _renumber(labels: Index) -> Index:
    kept = labels >= 0
    result = labels.copy()
    result[kept] = np.unique(labels[kept], return_inverse=True)[1]
    return result


def _flatten(positions: Float, faces: Index, work: Patchwork, run: Run | None) -> tuple[Float, Flags]:
    """Return `uv` (N, 2), and which charts lie flat without fault."""
    uv = as_rigid_as_possible(work, Stiffness(work), project(positions, faces, work), RIGID_STEPS, run)
    held = np.zeros(len(uv), dtype=bool)
    uv, good = _unfold(work, uv, held, np.ones(work.charts, dtype=bool), run)
    for _ in range(SHAVES):
        over, vertices = overlapping(work, uv, run)
        over &= good
        vertices = vertices[over[work.vertex_chart[vertices]]]
        if not len(vertices):
            good &= ~over
            break
        uv = _draw_in(work, uv, vertices)
        held[vertices] = True
        uv, good = _unfold(work, uv, held, good, run)
    else:
        good &= ~overlapping(work, uv, run)[0]
    return uv, good & (stretch(work, uv) <= STRETCH_LIMIT)


def _unfold(
    work: Patchwork, uv: Float, held: Flags, good: Flags, run: Run | None
) -> tuple[Float, Flags]:
    """Return `uv` with folds undone where moving the vertices near them does it, and the `good` charts without folds."""
    for rings, steps in REPAIRS:
        fold = folded(work, uv) & good[work.face_chart]
        if not fold.any():
            return uv, good
        free = np.zeros(len(uv), dtype=bool)
        free[work.corners[fold]] = True
        for _ in range(rings):
            free[work.corners[free[work.corners].any(axis=1)]] = True
        uv = relax(work, uv, free & ~held, steps, run, settle=2)
    good = good.copy()
    good[work.face_chart[folded(work, uv) & ~work.ghost]] = False
    return uv, good


def _draw_in(work: Patchwork, uv: Float, vertices: Index) -> Float:
    """Return `uv` with the `vertices` moved half-way to the mean of their neighbours."""
    one, two = work.corners.ravel(), np.roll(work.corners, -1, axis=1).ravel()
    count = len(uv)
    total = np.bincount(one, minlength=count) + np.bincount(two, minlength=count)
    mean = np.stack(
        [np.bincount(one, uv[two, k], count) + np.bincount(two, uv[one, k], count) for k in range(2)], axis=1
    )
    uv = uv.copy()
    uv[vertices] = 0.5 * (uv[vertices] + mean[vertices] / total[vertices, None])
    return uv


def stretch(work: Patchwork, uv: Float) -> Float:
    """Return float64 (charts,): the L2 stretch of each chart, 1 where it keeps all lengths up to one factor."""
    matrix = jacobians(work, uv)
    det = np.maximum(np.linalg.det(matrix), 1e-9)
    area = np.where(work.ghost, 0.0, work.area)
    surface = np.maximum(work.per_chart(area), 1e-300)
    squared = work.per_chart(area * 0.5 * (matrix**2).sum(axis=(1, 2)) / det**2)
    return np.sqrt(squared / surface * work.per_chart(area * det) / surface)


def _halve(positions: Float, faces: Index, pairs: Index, labels: Index) -> Index:
    """Return the labels with each chart cut by a plane across its longest extent."""
    labels = _renumber(labels)
    kept = np.flatnonzero(labels >= 0)
    chart = labels[kept]
    count = int(chart.max()) + 1
    centre = positions[faces[kept]].mean(axis=1)
    number = np.bincount(chart, minlength=count)
    mean = np.stack([np.bincount(chart, centre[:, k], count) for k in range(3)], axis=1) / number[:, None]
    centre -= mean[chart]
    moment = np.empty((count, 3, 3))
    for i in range(3):
        for j in range(3):
            moment[:, i, j] = np.bincount(chart, centre[:, i] * centre[:, j], count)
    axis = np.linalg.eigh(moment)[1][:, :, 2]
    along = np.einsum("ij,ij->i", centre, axis[chart])
    order = np.lexsort((along, chart))
    rank = np.empty(len(kept), dtype=np.int64)
    rank[order] = np.arange(len(kept))
    rank -= (np.cumsum(number) - number)[chart]
    half = labels.copy()
    half[kept] = 2 * chart + (rank >= number[chart] // 2)
    return _connected(half, pairs)


def _connected(labels: Index, pairs: Index) -> Index:
    """Return `labels` with charts that hang together across no edge told apart, numbered from 0; negative ones stay."""
    parts = connected(labels, pairs // 3)
    parts[labels < 0] = -1
    return _renumber(parts)
