# SPDX-License-Identifier: GPL-3.0-or-later
"""Laying many charts into the plane at once: as rigid as possible, or injective first and then as isometric as can be.

All charts are one block-diagonal sparse system, so that a thousand small charts cost what one large one does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu

from ..progress import Run
from .charts import totals

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

MIN_ASPECT = 0.02
"""A triangle is treated as if its height were at least this share of its longest edge."""
MIN_WEIGHT = 0.05
"""Cotangents are raised to this: positive weights keep the systems definite and Tutte's theorem true."""

GHOST_WEIGHT = 0.02
"""How much the shape of a face that only closes a hole counts."""


@dataclass(slots=True, eq=False)
class Patchwork:
    """Charts cut out of a surface, each with vertices of its own.

    `corners` int64 (F, 3) name the `count` vertices; faces and vertices are ordered by chart: chart c has the faces
    `face_start[c]:face_start[c + 1]` and the vertices `vertex_start[c]:vertex_start[c + 1]`; `face_chart` (F,) and
    `vertex_chart` (N,) say the same. `source` (F,) are the faces in the caller's numbering. `rest` float64 (F, 3, 2):
    each triangle laid flat; `area` (F,): its area. `ghost` (F,): faces that only close a hole.
    """

    corners: Index
    source: Index
    face_chart: Index
    vertex_chart: Index
    face_start: Index
    vertex_start: Index
    rest: Float
    area: Float
    ghost: npt.NDArray[np.bool_]

    @property
    def charts(self) -> int:
        return len(self.face_start) - 1

    def per_chart(self, values: Float | npt.NDArray[np.bool_]) -> Float:
        """Return the sums over the faces of each chart of `values` (F,)."""
        return totals(self.face_chart, values.astype(np.float64), self.charts)


@dataclass(slots=True, eq=False)
class Flat:
    """Charts in the plane, in the unit of the surface: `uv` float64 (N, 2), and the surface cut into them."""

    work: Patchwork
    uv: Float


def cut_out(
    positions: Float, faces: Index, pairs: Index, labels: Index, finest: float = 0.0, real: int | None = None
) -> Patchwork:
    """Return the charts `labels` (F,) of the surface, faces with a negative label left out.

    Corners share a vertex only where they meet across an edge inside their chart, so that every chart is a surface on
    its own even where the whole is not. Triangles are treated as if none were lower than `finest`. Faces from number
    `real` on are ghosts.
    """
    kept = np.flatnonzero(labels >= 0)
    order = kept[np.argsort(labels[kept], kind="stable")]
    place = np.full(len(faces), -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    owner = labels[pairs // 3]
    inside = pairs[(owner[:, 0] == owner[:, 1]) & (owner[:, 0] >= 0)]
    half = place[inside // 3] * 3 + inside % 3
    following = half - half % 3 + (half + 1) % 3
    one = np.concatenate((half[:, 0], following[:, 0]))
    two = np.concatenate((following[:, 1], half[:, 1]))
    nodes = 3 * len(order)
    graph = coo_matrix((np.ones(len(one), dtype=np.int8), (one, two)), (nodes, nodes))
    count, corner = connected_components(graph, directed=False)
    first = np.full(count, nodes)
    np.minimum.at(first, corner, np.arange(nodes))
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(count)  # vertices in the order of their charts
    corners = rank[corner].reshape(-1, 3)
    chart = labels[order]
    charts = int(chart[-1]) + 1 if len(chart) else 0
    vertex_chart = np.empty(count, dtype=np.int64)
    vertex_chart[corners] = chart[:, None]
    rest, area = _rest(positions, faces[order], finest)
    starts = np.arange(charts + 1)
    return Patchwork(
        corners, order, chart, vertex_chart,
        np.searchsorted(chart, starts), np.searchsorted(vertex_chart, starts), rest, area,
        order >= (len(faces) if real is None else real),
    )  # fmt: skip


def _rest(positions: Float, faces: Index, finest: float) -> tuple[Float, Float]:
    """Return each triangle in a plane of its own, lifted where it is too low for its length or for `finest`."""
    a, b, c = (positions[faces[:, k]] for k in range(3))
    one, two = b - a, c - a
    length = np.linalg.norm(one, axis=1)
    safe = np.maximum(length, 1e-300)
    x = np.einsum("ij,ij->i", one, two) / safe
    y = np.linalg.norm(np.cross(one, two), axis=1) / safe
    longest = np.maximum(np.maximum(length, np.hypot(x, y)), np.hypot(x - length, y))
    low = np.maximum(MIN_ASPECT * longest, finest)
    length, y = np.maximum(length, low), np.maximum(y, low)
    rest = np.zeros((len(faces), 3, 2))
    rest[:, 1, 0] = length
    rest[:, 2, 0] = np.clip(x, -longest, longest)
    rest[:, 2, 1] = y
    return rest, 0.5 * length * y


def cotangents(rest: Float) -> Float:
    """Return float64 (F, 3): the cotangent of the angle opposite to the edge from corner k to corner k + 1."""
    result = np.empty(rest.shape[:2])
    for k in range(3):
        tip = rest[:, (k + 2) % 3]
        one, two = rest[:, k] - tip, rest[:, (k + 1) % 3] - tip
        result[:, k] = (one * two).sum(axis=1) / (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    return result


class Stiffness:
    """The Laplacian of all charts with positive weights, factored once; one vertex of each chart is held."""

    def __init__(self, work: Patchwork) -> None:
        self.weight = np.maximum(cotangents(work.rest), MIN_WEIGHT)
        self.weight[work.ghost] *= GHOST_WEIGHT
        count = len(work.vertex_chart)
        one, two = work.corners.ravel(), np.roll(work.corners, -1, axis=1).ravel()
        half = coo_matrix((self.weight.ravel(), (one, two)), (count, count)).tocsc()
        self.adjacency = (half + half.T).tocsc()
        total = np.asarray(self.adjacency.sum(axis=0)).ravel()
        self.held = work.vertex_start[:-1][np.diff(work.vertex_start) > 0]
        extra = np.zeros(count)
        extra[self.held] = total[self.held]
        self.total = total
        self.extra = extra
        self.factor: SuperLU = factor((diags(total + extra) - self.adjacency).tocsc())

    def solve(self, right: Float, held: Float) -> Float:
        """Return x (N, 2) with L x = `right` (N, 2), the held vertices at `held`."""
        right = right.copy()
        right[self.held] += self.extra[self.held, None] * held
        result: Float = self.factor.solve(right)
        return result


def factor(matrix: npt.NDArray[np.float64]) -> SuperLU:
    """Return the factors of a symmetric, diagonally dominant sparse matrix."""
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def project(positions: Float, faces: Index, work: Patchwork) -> Float:
    """Return (N, 2): each chart seen along its mean normal."""
    vertex = np.empty(len(work.vertex_chart), dtype=np.int64)
    triangles = faces[work.source]
    vertex[work.corners] = triangles
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    double = np.cross(b - a, c - a)
    axis = np.stack([work.per_chart(double[:, k]) for k in range(3)], axis=1)
    norm = np.linalg.norm(axis, axis=1, keepdims=True)
    axis = np.where(norm > 0.0, axis / np.maximum(norm, 1e-300), (0.0, 0.0, 1.0))
    helper = np.where(np.abs(axis[:, :1]) < 0.6, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    right = np.cross(helper, axis)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-300)
    up = np.cross(axis, right)
    point = positions[vertex]
    chart = work.vertex_chart
    return np.stack((np.einsum("ij,ij->i", point, right[chart]), np.einsum("ij,ij->i", point, up[chart])), axis=1)


def jacobians(work: Patchwork, uv: Float) -> Float:
    """Return (F, 2, 2): the matrix that carries each triangle at rest, up to a shift, to where `uv` puts it."""
    q = uv[work.corners]
    one, two = q[:, 1] - q[:, 0], q[:, 2] - q[:, 0]
    length, x, y = work.rest[:, 1, 0], work.rest[:, 2, 0], work.rest[:, 2, 1]
    first = one / length[:, None]
    second = (two - x[:, None] * first) / y[:, None]
    return np.stack((first, second), axis=2)


def as_rigid_as_possible(work: Patchwork, stiffness: Stiffness, uv: Float, steps: int, run: Run | None) -> Float:
    """Return `uv` after `steps` of local rotations and a global solve (Liu et al. 2008, section 4)."""
    edge = np.roll(work.rest, -1, axis=1) - work.rest  # (F, 3, 2), from corner k to corner k + 1
    weight = stiffness.weight
    spread = coo_matrix(
        (np.ones(work.corners.size), (work.corners.ravel(), np.arange(work.corners.size))),
        (len(uv), work.corners.size),
    ).tocsr()
    for _ in range(steps):
        if run is not None:
            run.check()
        moved = np.roll(uv[work.corners], -1, axis=1) - uv[work.corners]
        cosine = (weight * (edge * moved).sum(axis=2)).sum(axis=1)
        sine = (weight * (edge[..., 0] * moved[..., 1] - edge[..., 1] * moved[..., 0])).sum(axis=1)
        norm = np.maximum(np.hypot(cosine, sine), 1e-300)
        cosine, sine = (cosine / norm)[:, None], (sine / norm)[:, None]
        turned = np.stack(
            (cosine * edge[..., 0] - sine * edge[..., 1], sine * edge[..., 0] + cosine * edge[..., 1]), axis=2
        )
        turned *= weight[..., None]
        right = spread @ (np.roll(turned, 1, axis=1) - turned).reshape(-1, 2)
        uv = stiffness.solve(right, uv[stiffness.held])
    return uv
