# SPDX-License-Identifier: GPL-3.0-or-later
"""Grouping the faces of a surface into charts that lie flat enough to be laid into the plane.

Charts grow by merging: every face begins as a chart of its own, and in each round all pairs of neighbours that suit
each other best join at once, as long as the cone that holds their normals stays within the threshold. The cost of a
merger is the one of CuMesh (`compute_charts`: half-angle of the joint cone, and a little for area and for a long
border), so that the parameters keep the meaning they have there. Unlike there, the normals are smoothed over a few
texels before they decide, because noise finer than the texture must not cut the surface to pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..progress import Run

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

AREA_WEIGHT = 0.1
PERIMETER_WEIGHT = 1e-4
"""CuMesh's `area_penalty_weight` and `perimeter_area_ratio_weight`, for an asset of unit size."""
NOISE_TEXELS = 6.0
"""Normals are smoothed over about this many texels: finer relief does not decide where a chart ends."""
SMOOTHING_STEPS = 16
SMALL_TEXELS = 12.0
"""A chart whose area is below this many texels squared joins a neighbour even where the cone forbids it."""
THIN_TEXELS = 6.0
"""So does a chart whose mean width (twice the area over the perimeter) is below this."""
OPEN_BORDER = 4.0
"""A chart keeps a border whose square is at least this many times its area (a disc has 12.6, a closed surface 0)."""
COMPACT_WEIGHT = 0.03
"""How much the jaggedness of a merger counts beside its bend when the best one is chosen, in radians."""
MERGE_ROUNDS = 400
PATCH_FACES = 12
"""Mergers are exact on patches of this many faces, no longer on faces: a patch is nearly flat."""
SMALL_ROUNDS = 60


def totals(index: Index, values: npt.NDArray[np.float64] | npt.NDArray[np.bool_], count: int) -> Float:
    """Return float64 (count,): the sums of the `values` that have each `index`."""
    result: Float = np.bincount(index, values, count).astype(np.float64, copy=False)
    return result


@dataclass(frozen=True, slots=True)
class ChartOptions:
    """The four parameters of the clustering, with TRELLIS's defaults."""

    angle_threshold_deg: float = 90.0
    refine_iterations: int = 0
    global_iterations: int = 1
    smooth_strength: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """What lies next to what. `pairs` int64 (M, 2): half-edges (3 * face + corner) that run along each other in
    opposite directions, for every edge with exactly two faces; `length` float64 (M,); `border`
    float64 (F,): the length of the edges of a face that have no such pair.
    """

    pairs: Index
    length: Float
    border: Float


def topology(positions: Float, faces: Index) -> Topology:
    """Return which half-edges of `faces` int64 (F, 3) meet; edges of three faces, or of two that disagree on their
    orientation, count as borders.
    """
    count = len(positions)
    start = faces.ravel()
    end = np.roll(faces, -1, axis=1).ravel()
    low, high = np.minimum(start, end), np.maximum(start, end)
    key = low * count + high
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    head = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    two = head[np.diff(head, append=len(ordered)) == 2]
    first, second = order[two], order[two + 1]
    opposite = (start[first] == end[second]) & (low[first] != high[first])
    pairs = np.stack((first[opposite], second[opposite]), axis=1)
    lengths = np.linalg.norm(positions[end] - positions[start], axis=1)
    border = lengths.copy()
    border[pairs.ravel()] = 0.0
    return Topology(pairs, lengths[pairs[:, 0]], border.reshape(-1, 3).sum(axis=1))


def face_normals(positions: Float, faces: Index) -> tuple[Float, Float]:
    """Return unit normals float64 (F, 3), zero for faces without area, and areas float64 (F,)."""
    a, b, c = (positions[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    double = np.linalg.norm(normal, axis=1)
    return normal / np.maximum(double, 1e-300)[:, None], double * 0.5


def smooth_normals(normals: Float, areas: Float, centres: Float, pairs: Index, length: Float, radius: float) -> Float:
    """Return the normals diffused over `radius` (in the unit of the positions) along the surface, of unit length.

    Jacobi steps of one implicit step of the heat flow, so that faces larger than the radius keep their normals.
    """
    one, two = pairs[:, 0], pairs[:, 1]
    gap = np.linalg.norm(centres[one] - centres[two], axis=1)
    weight = radius * radius * length / np.maximum(gap, 1e-12)
    count = len(normals)
    flow = coo_matrix(
        (np.concatenate((weight, weight)), (np.concatenate((one, two)), np.concatenate((two, one)))), (count, count)
    ).tocsr()
    total = np.asarray(flow.sum(axis=1)).ravel() + areas
    inverse = (1.0 / np.maximum(total, 1e-300))[:, None]
    source = normals * areas[:, None]
    smooth = normals
    for _ in range(SMOOTHING_STEPS):
        smooth = (flow @ smooth + source) * inverse
    result: Float = smooth / np.maximum(np.linalg.norm(smooth, axis=1), 1e-300)[:, None]
    return result


def segment(
    positions: Float, faces: Index, topo: Topology, options: ChartOptions, texel: float, run: Run | None = None
) -> Index:
    """Return int64 (F,): the chart of each face, numbered from 0, each chart connected across edges.

    `texel` is the expected size of a texel on the surface, in the unit of the positions.
    """
    raw, areas = face_normals(positions, faces)
    centres = positions[faces].mean(axis=1)
    across = topo.pairs // 3
    normals = smooth_normals(raw, areas, centres, across, topo.length, NOISE_TEXELS * texel)
    size = max(float(np.ptp(positions, axis=0).max()), 1e-300)
    surface = _Surface(normals, areas / size**2, topo.border / size, across, topo.length / size)
    threshold = float(np.radians(options.angle_threshold_deg))
    labels = np.arange(len(faces))
    for _ in range(max(options.global_iterations, 1)):
        labels = _cluster(surface, labels, threshold, run)
        for _ in range(options.refine_iterations):
            labels = _refine(surface, labels, options.smooth_strength)
        if options.refine_iterations:
            labels = connected(labels, across)
    return _absorb_small(surface, labels, texel / size, run)


def connected(labels: Index, across: Index) -> Index:
    """Return `labels` int64 (F,) split so that each label is connected through `across` (M, 2), numbered from 0."""
    same = labels[across[:, 0]] == labels[across[:, 1]]
    one, two = across[same].T
    graph = coo_matrix((np.ones(len(one), dtype=np.int8), (one, two)), (len(labels), len(labels)))
    result: Index = connected_components(graph, directed=False)[1].astype(np.int64)
    return result


def connected_charts(labels: Index, pairs: Index) -> Index:
    """Return `labels` with charts that hang together across no edge told apart, numbered from 0; negative ones stay."""
    parts = connected(labels, pairs // 3)
    parts[labels < 0] = -1
    return renumber(parts)


def renumber(labels: Index) -> Index:
    """Return `labels` numbered from 0 without gaps; negative ones become -1."""
    result = np.full(len(labels), -1, dtype=np.int64)
    kept = labels >= 0
    result[kept] = np.unique(labels[kept], return_inverse=True)[1]
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Surface:
    """Faces as the clustering sees them, in units of the asset's size."""

    normals: Float
    areas: Float
    border: Float
    across: Index
    length: Float


@dataclass(slots=True, eq=False)
class _Charts:
    """Sums over charts, and the pairs `one` < `two` of neighbours with the length they share.

    `axis` is the sum of area times normal, not of unit length.
    """

    axis: Float
    half_angle: Float
    area: Float
    perimeter: Float
    one: Index
    two: Index
    shared: Float

    def unit_axis(self) -> Float:
        unit: Float = self.axis / np.maximum(np.linalg.norm(self.axis, axis=1), 1e-300)[:, None]
        return unit


def _summarise(surface: _Surface, labels: Index) -> _Charts:
    count = int(labels.max(initial=-1)) + 1
    weighted = surface.normals * surface.areas[:, None]
    axis = np.stack([totals(labels, weighted[:, k], count) for k in range(3)], axis=1)
    charts = _Charts(axis, np.zeros(count), totals(labels, surface.areas, count), np.zeros(count), *_NO_PAIRS)
    charts.half_angle = _half_angles(charts.unit_axis(), labels, surface.normals, None)
    one, two = labels[surface.across[:, 0]], labels[surface.across[:, 1]]
    charts.one, charts.two, charts.shared = _gather_pairs(one, two, surface.length, count)
    charts.perimeter = totals(labels, surface.border, count)
    charts.perimeter += totals(charts.one, charts.shared, count) + totals(charts.two, charts.shared, count)
    return charts


_NO_PAIRS = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))


def _half_angles(axis: Float, labels: Index, normals: Float, own: Float | None) -> Float:
    """Return the widest angle between each chart's axis and its parts' normals, to which the parts' `own` half-angles
    are added.
    """
    cosine = np.einsum("ij,ij->i", axis[labels], normals)
    if own is None:
        lowest = np.ones(len(axis))
        np.minimum.at(lowest, labels, cosine)
        return np.arccos(np.clip(lowest, -1.0, 1.0))
    widest = np.zeros(len(axis))
    np.maximum.at(widest, labels, np.arccos(np.clip(cosine, -1.0, 1.0)) + own)
    return widest


def _gather_pairs(one: Index, two: Index, length: Float, count: int) -> tuple[Index, Index, Float]:
    """Return each pair of different charts once, with the sum of the lengths."""
    differ = one != two
    one, two, length = one[differ], two[differ], length[differ]
    if not len(one):
        return _NO_PAIRS
    key = np.minimum(one, two) * count + np.maximum(one, two)
    order = np.argsort(key)
    ordered = key[order]
    head = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    low, high = np.divmod(ordered[head], count)
    return low, high, np.add.reduceat(length[order], head)


def _joint_cost(charts: _Charts) -> Float:
    """Return the cost of joining each pair: the half-angle of the smallest cone around both, and CuMesh's penalties."""
    one, two = charts.one, charts.two
    axis = charts.unit_axis()
    between = np.arccos(np.clip(np.einsum("ij,ij->i", axis[one], axis[two]), -1.0, 1.0))
    low = np.minimum(-charts.half_angle[one], between - charts.half_angle[two])
    high = np.maximum(charts.half_angle[one], between + charts.half_angle[two])
    area = charts.area[one] + charts.area[two]
    border = charts.perimeter[one] + charts.perimeter[two] - 2.0 * charts.shared
    cost: Float = 0.5 * (high - low) + AREA_WEIGHT * area + PERIMETER_WEIGHT * border**2 / np.maximum(area, 1e-300)
    return cost


def _jaggedness(charts: _Charts) -> Float:
    """Return the square of the joint border over the joint area of each pair: 12.6 for a disc, more for any other."""
    border = charts.perimeter[charts.one] + charts.perimeter[charts.two] - 2.0 * charts.shared
    ratio: Float = border**2 / np.maximum(charts.area[charts.one] + charts.area[charts.two], 1e-300)
    return ratio


def _stays_open(charts: _Charts) -> npt.NDArray[np.bool_]:
    """Return whether each pair, joined, keeps a border that is long for its area, so that it is not nearly closed."""
    border = charts.perimeter[charts.one] + charts.perimeter[charts.two] - 2.0 * charts.shared
    result: npt.NDArray[np.bool_] = border**2 > OPEN_BORDER * (charts.area[charts.one] + charts.area[charts.two])
    return result


def _choose(charts: _Charts, cost: Float, allowed: npt.NDArray[np.bool_]) -> Index:
    """Return int64 (C,): the chart that each chart becomes when every allowed pair that is the cheapest of both joins.

    Equal costs, as on a plane, are told apart by a hash of the pair, so that many pairs can join at once.
    """
    count = len(charts.area)
    one, two, cost = charts.one[allowed], charts.two[allowed], cost[allowed]
    cost = cost + 1e-7 * ((one * 2654435761 + two * 40503) % 65536) / 65536.0
    best = np.full(count, np.inf)
    np.minimum.at(best, one, cost)
    np.minimum.at(best, two, cost)
    chosen = (best[one] == cost) & (best[two] == cost)
    target = np.arange(count)
    target[two[chosen]] = one[chosen]
    roots = target == np.arange(count)
    numbered = np.cumsum(roots) - 1
    root = target[target]
    settled = roots[root]
    return np.where(settled, numbered[np.where(settled, root, 0)], 0) if settled.all() else _compact(root)


def _compact(values: Index) -> Index:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _contract(charts: _Charts, become: Index) -> _Charts:
    """Return the charts after `become`, with cones that are wide enough for both parts of each."""
    count = int(become.max()) + 1
    axis = np.stack([totals(become, charts.axis[:, k], count) for k in range(3)], axis=1)
    one, two, shared = _gather_pairs(become[charts.one], become[charts.two], charts.shared, count)
    inner = totals(become, charts.perimeter, count)
    same = become[charts.one] == become[charts.two]
    inner -= 2.0 * totals(become[charts.one[same]], charts.shared[same], count)
    joined = _Charts(axis, np.zeros(count), totals(become, charts.area, count), inner, one, two, shared)
    joined.half_angle = _half_angles(joined.unit_axis(), become, charts.unit_axis(), charts.half_angle)
    return joined


def _cluster(surface: _Surface, labels: Index, threshold: float, run: Run | None) -> Index:
    """Merge until no pair of neighbours fits into one cone of half-angle `threshold`."""
    if not len(labels):
        return labels
    charts = _summarise(surface, labels)
    patch = labels  # of each face
    patches = charts  # whose cones are exact
    to_chart = np.arange(len(charts.area))  # of each patch
    for _ in range(MERGE_ROUNDS):
        if run is not None:
            run.check()
        cost = _joint_cost(charts)
        allowed = (cost <= threshold) & _stays_open(charts)
        if not allowed.any():
            break
        become = _choose(charts, cost + COMPACT_WEIGHT * _jaggedness(charts), allowed)
        charts = _contract(charts, become)
        to_chart = become[to_chart]
        if len(patches.area) == len(patch) and len(charts.area) * PATCH_FACES < len(patch):
            patch = to_chart[patch]
            patches = _summarise(surface, patch)
            to_chart = np.arange(len(patches.area))
            charts.half_angle = patches.half_angle
        elif len(charts.area) * PATCH_FACES < len(patch):
            charts.half_angle = _half_angles(charts.unit_axis(), to_chart, patches.unit_axis(), patches.half_angle)
    return to_chart[patch]


def _refine(surface: _Surface, labels: Index, strength: float) -> Index:
    """Move each face to the neighbouring chart that suits it best by normal and by the length of the common border."""
    count = int(labels.max(initial=0)) + 1
    axis = _summarise(surface, labels).unit_axis()
    faces = np.arange(len(labels))
    one, two = surface.across.T
    face = np.concatenate((faces, one, two))
    chart = np.concatenate((labels, labels[two], labels[one]))
    length = np.concatenate((np.zeros(len(faces)), surface.length, surface.length))
    key = face * count + chart
    order = np.argsort(key)
    head = np.flatnonzero(np.concatenate(([True], np.diff(key[order]) != 0)))
    common = np.add.reduceat(length[order], head)
    face, chart = np.divmod(key[order][head], count)
    facing = np.einsum("ij,ij->i", axis[chart], surface.normals[face])
    score = np.where(facing > 0.0, facing + strength * common, -np.inf) + np.where(chart == labels[face], 1e-5, 0.0)
    order = np.lexsort((-chart, score, face))
    best = order[np.flatnonzero(np.concatenate((np.diff(face[order]) != 0, [True])))]
    return _compact(np.where(np.isfinite(score[best]), chart[best], labels))


def _absorb_small(surface: _Surface, labels: Index, texel: float, run: Run | None) -> Index:
    """Join charts of too few texels to the neighbour that bends least and shares most of their border."""
    if not len(labels):
        return labels
    charts = _summarise(surface, labels)
    for _ in range(SMALL_ROUNDS):
        if run is not None:
            run.check()
        width = 2.0 * charts.area / np.maximum(charts.perimeter, 1e-300)
        small = (charts.area < (SMALL_TEXELS * texel) ** 2) | (width < THIN_TEXELS * texel)
        allowed = (small[charts.one] | small[charts.two]) & _stays_open(charts)
        if not allowed.any():
            break
        least = np.minimum(charts.perimeter[charts.one], charts.perimeter[charts.two])
        cost = _joint_cost(charts) - charts.shared / np.maximum(least, 1e-300)
        become = _choose(charts, cost, allowed)
        charts = _contract(charts, become)
        labels = become[labels]
    return labels
