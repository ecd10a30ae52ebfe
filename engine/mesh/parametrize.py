# SPDX-License-Identifier: GPL-3.0-or-later
"""Laying every chart into the plane without folds: what does not lie flat is mended, or else split and tried again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..progress import Run
from .chart_handles import open_handles
from .chart_holes import close_holes
from .charts import Topology, connected_charts, renumber
from .flatten import Flat, Float, Index, Patchwork, Stiffness, as_rigid_as_possible, cut_out, jacobians, project
from .halve import halve
from .overlap import overlapping
from .slivers import thin_joined, without_specks
from .untangle import folded, relax

Flags = npt.NDArray[np.bool_]
RIGID_STEPS = 8
REPAIRS = ((3, 30), (8, 40))
"""Rings of faces around a fold that are moved to undo it, and the steps that this may take."""
MOVES_PER_FACE = 8.0
HOPELESS_SHARE = 0.1
"""A chart of which more than this share is folded is split at once."""
SHAVES = 3
SMALL_STRETCH_LIMIT = 2.5
SMALL_TEXELS = 256.0
"""Charts of so few texels in all may be stretched more, because splitting them leaves charts too thin to be of use."""
LEAST_SHARE = 0.005
"""A triangle that keeps this share of its area is taken, though one below untangle.DETERMINANT_MARGIN is mended."""
JOIN_ROUNDS = 5
"""How often charts that came out too thin are tried together with a neighbour."""
SHARE = (0.35, 0.75)
"""The part of the whole unwrapping that this is, for the progress."""
FINEST_TEXELS = 0.02
"""Triangles are laid out at least this high, so that rounding to float32 cannot turn them over."""
STRETCH_LIMIT = 1.2
"""A chart stretched more than this (L2, Sander et al. 2001) is split."""
ROUNDS = 14
"""Charts that still fold after so many halvings fall into single triangles."""


@dataclass(slots=True)
class _Budget:
    """How many moves of a vertex may still be spent on mending: noise without end must not take time without end."""

    moves: float


def parametrize(
    positions: Float, faces: Index, topo: Topology, labels: Index, texel: float, run: Run | None = None
) -> Flat:
    """Return the charts `labels` (F,) of the surface laid flat, split where that was needed.

    `texel` is the expected size of a texel, in the unit of the positions. Charts smaller than a texel, but cut from a
    larger component, are left out. No triangle of the result is turned over and no chart covers a point twice.
    """
    settled = np.full(len(faces), -1, dtype=np.int64)
    place = np.zeros((len(faces), 3, 2))
    pairs = topo.pairs
    pending = _part_pillows(faces, labels)
    number = 0
    budget = _Budget(MOVES_PER_FACE * len(faces))
    for turn in range(ROUNDS + 1):
        if turn == ROUNDS:
            pending[pending >= 0] = np.arange(int((pending >= 0).sum()))
        pairs = open_handles(positions, faces, pairs, pending, run)
        pending = connected_charts(pending, pairs)
        work, uv, good = _lay_out(positions, faces, pairs, pending, texel, budget, run)
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
        pending = halve(positions, faces, pairs, pending)
    settled = renumber(settled)
    for choice in range(JOIN_ROUNDS):
        joined = thin_joined(settled, place, topo, texel, choice)
        if not (joined >= 0).any():
            break
        work, uv, good = _lay_out(positions, faces, pairs, connected_charts(joined, pairs), texel, budget, run)
        fine = good[work.face_chart] & ~work.ghost
        source = work.source[fine]
        settled[source] = int(settled.max()) + 1 + work.face_chart[fine]
        place[source] = uv[work.corners[fine]]
        settled = renumber(settled)
    settled = renumber(without_specks(settled, place, topo, texel))
    work = cut_out(positions, faces, pairs, settled, FINEST_TEXELS * texel)
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


def _lay_out(
    positions: Float, faces: Index, pairs: Index, labels: Index, texel: float, budget: _Budget, run: Run | None
) -> tuple[Patchwork, Float, Flags]:
    """Return the charts `labels` (F,), where they lie in the plane, and which of them lie there without fault."""
    finest = FINEST_TEXELS * texel
    work = cut_out(positions, faces, pairs, labels, finest)
    closed = close_holes(positions, faces, pairs, labels, work)
    if closed is not None:
        positions, faces = closed[:2]
        work = cut_out(*closed, finest, len(labels))
    return work, *_flatten(positions, faces, work, texel, budget, run)


def _flatten(
    positions: Float, faces: Index, work: Patchwork, texel: float, budget: _Budget, run: Run | None
) -> tuple[Float, Flags]:
    """Return `uv` (N, 2), and which charts lie flat without fault."""
    uv = as_rigid_as_possible(work, Stiffness(work), project(positions, faces, work), RIGID_STEPS, run)
    held = np.zeros(len(uv), dtype=bool)
    uv, good = _unfold(work, uv, held, np.ones(work.charts, dtype=bool), budget, run)
    for _ in range(SHAVES):
        over, vertices = overlapping(work, uv, run)
        over &= good
        vertices = vertices[over[work.vertex_chart[vertices]]]
        if not len(vertices):
            good &= ~over
            break
        uv = _draw_in(work, uv, vertices)
        held[vertices] = True
        uv, good = _unfold(work, uv, held, good, budget, run)
    else:
        good &= ~overlapping(work, uv, run)[0]
    small = work.per_chart(work.area) < SMALL_TEXELS * texel**2
    return uv, good & (stretch(work, uv) <= np.where(small, SMALL_STRETCH_LIMIT, STRETCH_LIMIT))


def _unfold(
    work: Patchwork, uv: Float, held: Flags, good: Flags, budget: _Budget, run: Run | None
) -> tuple[Float, Flags]:
    """Return `uv` with folds undone where moving vertices near them does it, and the `good` charts that lie flat."""
    hopeless = work.per_chart(folded(work, uv) & ~work.ghost) > HOPELESS_SHARE * np.diff(work.face_start)
    good = good & ~hopeless
    for rings, steps in REPAIRS:
        fold = folded(work, uv) & good[work.face_chart]
        if not fold.any():
            return uv, good
        free = np.zeros(len(uv), dtype=bool)
        free[work.corners[fold]] = True
        for _ in range(rings):
            free[work.corners[free[work.corners].any(axis=1)]] = True
        budget.moves -= float(free.sum()) * steps
        if budget.moves < 0.0:
            break
        uv = relax(work, uv, free & ~held, steps, run, settle=2)
    good[work.face_chart[folded(work, uv, LEAST_SHARE) & ~work.ghost]] = False
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
    result: Float = np.sqrt(squared / surface * work.per_chart(area * det) / surface)
    return result
