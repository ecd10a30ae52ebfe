# SPDX-License-Identifier: GPL-3.0-or-later
"""Turning folded triangles of a flattened chart over again, and evening out its stretch.

The energy is the one of Garanzha et al., "Foldover-free maps in 50 lines of code" (2021): a barrier against folds that
is softened just enough to let a folded triangle pass through it. It is minimised by L-BFGS (Liu and Nocedal 1989) with
the Laplacian as its first guess of the Hessian, for all charts side by side: each has its own step and its own history.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, csc_matrix, diags

from ..progress import Run
from .charts import totals
from .flatten import GHOST_WEIGHT, MIN_WEIGHT, Float, Index, Patchwork, cotangents, factor, jacobians

HISTORY = 5
SHRINKS = 14
"""A step is halved at most this many times."""
LEAST_GAIN = 5e-4
PATIENCE = 6
"""A chart that still folds is given up after so many steps in a row that lower its energy by less than LEAST_GAIN."""
SOFTNESS = 0.05
"""How much area a triangle may lack before the barrier stops it."""
DETERMINANT_MARGIN = 0.02
"""A triangle counts as unfolded when it keeps at least this share of its area."""


def folded(work: Patchwork, uv: Float, margin: float = DETERMINANT_MARGIN) -> npt.NDArray[np.bool_]:
    """Return bool (F,): the triangles that are turned over, or keep less than the share `margin` of their area."""
    matrix = jacobians(work, uv)
    return matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0] < margin


class _Problem:
    """The energy of some faces as a function of some free vertices, summed by group."""

    def __init__(self, work: Patchwork, faces: Index, free: Index) -> None:
        self.faces, self.free = faces, free
        self.corners = work.corners[faces]
        ghost = work.ghost[faces]
        self.area = work.area[faces] * np.where(ghost, GHOST_WEIGHT, 1.0)
        self.length, self.x, self.y = work.rest[faces, 1, 0], work.rest[faces, 2, 0], work.rest[faces, 2, 1]
        self.face_group, self.group = work.face_chart[faces], work.vertex_chart[free]
        named, packed = np.unique(np.concatenate((self.face_group, self.group)), return_inverse=True)
        self.groups = len(named)
        self.face_group, self.group = packed[: len(faces)], packed[len(faces) :]
        place = np.full(len(work.vertex_chart), -1, dtype=np.int64)
        place[free] = np.arange(len(free))
        self.place = place[self.corners]
        inside = self.place.ravel() >= 0
        self.spread = coo_matrix(
            (np.ones(int(inside.sum())), (self.place.ravel()[inside], np.flatnonzero(inside))),
            (len(free), self.corners.size),
        ).tocsr()
        weight = np.maximum(cotangents(work.rest[faces]), MIN_WEIGHT)
        weight[ghost] *= GHOST_WEIGHT
        self.factor = factor(self._laplacian(weight))

    def _laplacian(self, weight: Float) -> csc_matrix:
        one, two = self.place.ravel(), np.roll(self.place, -1, axis=1).ravel()
        value, count = weight.ravel(), len(self.free)
        total = totals(one[one >= 0], value[one >= 0], count) + totals(two[two >= 0], value[two >= 0], count)
        both = (one >= 0) & (two >= 0)
        half = coo_matrix((value[both], (one[both], two[both])), (count, count)).tocsc()
        return (diags(total * (1.0 + 1e-6)) - half - half.T).tocsc()

    def matrices(self, uv: Float) -> tuple[Float, Float, Float, Float]:
        q = uv[self.corners]
        one, two = q[:, 1] - q[:, 0], q[:, 2] - q[:, 0]
        a, c = one[:, 0] / self.length, one[:, 1] / self.length
        return a, (two[:, 0] - self.x * a) / self.y, c, (two[:, 1] - self.x * c) / self.y

    def determinants(self, uv: Float) -> Float:
        a, b, c, d = self.matrices(uv)
        return a * d - b * c

    def energy(self, uv: Float, soft: Float) -> Float:
        """Return the energy of each group."""
        a, b, c, d = self.matrices(uv)
        det = a * d - b * c
        root = np.sqrt(soft[self.face_group] ** 2 + det**2)
        chi = _barrier(det, root, soft[self.face_group])
        value = (a * a + b * b + c * c + d * d + 1.0 + det**2) / chi
        return totals(self.face_group, self.area * value, self.groups)

    def gradient(self, uv: Float, soft: Float) -> Float:
        """Return the gradient (free vertices, 2) of the sum of the energies."""
        a, b, c, d = self.matrices(uv)
        det = a * d - b * c
        root = np.sqrt(soft[self.face_group] ** 2 + det**2)
        chi = _barrier(det, root, soft[self.face_group])
        top = a * a + b * b + c * c + d * d + 1.0 + det**2
        scale = 2.0 * self.area / chi
        along = self.area * (2.0 * det / chi - top * 0.5 * (1.0 + det / root) / chi**2)
        pa, pb = scale * a + along * d, scale * b - along * c
        pc, pd = scale * c - along * b, scale * d + along * a
        slope = self.x / (self.length * self.y)
        corner = np.empty((len(a), 3, 2))
        corner[:, 1, 0], corner[:, 1, 1] = pa / self.length - pb * slope, pc / self.length - pd * slope
        corner[:, 2, 0], corner[:, 2, 1] = pb / self.y, pd / self.y
        corner[:, 0] = -corner[:, 1] - corner[:, 2]
        result: Float = self.spread @ corner.reshape(-1, 2)
        return result

    def dot(self, one: Float, two: Float) -> Float:
        product = one[:, 0] * two[:, 0] + one[:, 1] * two[:, 1]
        return totals(self.group, product, self.groups)


def _barrier(det: Float, root: Float, soft: Float) -> Float:
    """Return the softened area (det + root) / 2, below zero in the form that does not cancel."""
    return np.where(det > 0.0, 0.5 * (det + root), 0.5 * soft**2 / (root + np.abs(det)))


def relax(
    work: Patchwork, uv: Float, free: npt.NDArray[np.bool_], steps: int, run: Run | None, settle: int = 0
) -> Float:
    """Return `uv` (N, 2) with the vertices `free` (N,) moved so that triangles unfold and keep their shape.

    At most `steps` iterations; a chart stops `settle` iterations after its last triangle has unfolded.
    """
    faces = np.flatnonzero(free[work.corners].any(axis=1))
    if not len(faces):
        return uv
    problem = _Problem(work, faces, np.flatnonzero(free))
    group = problem.group
    uv = uv.copy()
    pairs: deque[tuple[Float, Float, Float]] = deque(maxlen=HISTORY)
    wait = np.full(problem.groups, settle)
    idle = np.zeros(problem.groups, dtype=np.int64)
    for _ in range(steps):
        if run is not None:
            run.check()
        det = problem.determinants(uv)
        worst = np.full(problem.groups, np.inf)
        np.minimum.at(worst, problem.face_group, det)
        done = worst >= DETERMINANT_MARGIN
        wait[done] -= 1
        active = np.where(done, wait >= 0, idle < PATIENCE)
        if not active.any():
            break
        soft = np.maximum(SOFTNESS, 0.2 * np.abs(np.minimum(worst, 0.0)))
        gradient = problem.gradient(uv, soft)
        direction = _direction(problem, gradient, pairs)
        slope = problem.dot(gradient, direction)
        uphill = slope >= 0.0
        if uphill.any():
            plain = -problem.factor.solve(gradient)
            direction[uphill[group]] = plain[uphill[group]]
            slope = problem.dot(gradient, direction)
        step, moved, gain = _search(problem, uv, soft, direction, slope, active)
        idle = np.where(gain < LEAST_GAIN, idle + 1, 0)
        after = problem.gradient(moved, soft)
        change, bend = moved[problem.free] - uv[problem.free], after - gradient
        curvature = problem.dot(change, bend)
        pairs.append((change, bend, np.where(curvature > 1e-14, 1.0 / np.maximum(curvature, 1e-14), 0.0)))
        uv = moved
        wait[(step == 0.0) & done] = 0
    return uv


def _direction(problem: _Problem, gradient: Float, pairs: deque[tuple[Float, Float, Float]]) -> Float:
    """Return the descent direction of L-BFGS, the two loops run for each group on its own."""
    q = gradient.copy()
    weights = []
    for change, bend, inverse in reversed(pairs):
        alpha = inverse * problem.dot(change, q)
        weights.append(alpha)
        q -= alpha[problem.group, None] * bend
    r: Float = problem.factor.solve(q)
    if pairs:
        change, bend, inverse = pairs[-1]
        smooth = problem.dot(bend, problem.factor.solve(bend))
        usable = (inverse > 0.0) & (smooth > 0.0)
        gamma = np.where(usable, 1.0 / np.maximum(inverse * smooth, 1e-300), 1.0)
        r *= np.where(usable, gamma, 1.0)[problem.group, None]
    for (change, bend, inverse), alpha in zip(pairs, reversed(weights), strict=True):
        beta = inverse * problem.dot(bend, r)
        r += (alpha - beta)[problem.group, None] * change
    return -r


def _search(
    problem: _Problem, uv: Float, soft: Float, direction: Float, slope: Float, active: npt.NDArray[np.bool_]
) -> tuple[Float, Float, Float]:
    """Return the step of each group that lowers its energy enough (Armijo), 0 where none does, the vertices, and the
    share of its energy that each group lost.
    """
    before = problem.energy(uv, soft)
    step = np.where(active & (slope < 0.0), 1.0, 0.0)
    for _ in range(SHRINKS):
        moved = uv.copy()
        moved[problem.free] += step[problem.group, None] * direction
        after = problem.energy(moved, soft)
        worse = (step > 0.0) & ~(after <= before + 1e-4 * step * slope)
        if not worse.any():
            return step, moved, 1.0 - after / before
        step[worse] *= 0.5
    step[worse] = 0.0
    moved = uv.copy()
    moved[problem.free] += step[problem.group, None] * direction
    return step, moved, np.where(worse, 0.0, 1.0 - after / before)
