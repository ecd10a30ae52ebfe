# SPDX-License-Identifier: GPL-3.0-or-later
"""Poisson's equation inside the outline: -laplace(u) = 4, zero on the outline itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyamg
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from .outline import Outline

Doubles = npt.NDArray[np.float64]

_TOLERANCE = 1e-5
_COARSEST = 300
_FLATTEST = 0.4


def solve(outline: Outline, turn: Callable[[], None]) -> Doubles:
    """Return u float64 (R, C) on the nodes of `outline`, zero outside, in units of a cell squared.

    Where the outline cuts a cell, its true distance from the node enters the difference (F. Gibou et al., "A
    Second-Order-Accurate Symmetric Discretization of the Poisson Equation on Irregular Domains", J. Comput. Phys. 176,
    2002, section 3), which keeps the matrix symmetric. It is solved by conjugate gradients over a classical algebraic
    multigrid cycle (J. Ruge, K. Stueben, "Algebraic Multigrid", 1987). `turn` is called at every iteration.
    """
    inside = outline.inside
    result = np.zeros(inside.shape)
    count = int(inside.sum())
    if not count:
        return result
    matrix = _matrix(outline, count)
    turn()
    levels = pyamg.ruge_stuben_solver(matrix, max_coarse=_COARSEST, coarse_solver="splu")
    turn()

    def each(_: object) -> None:
        turn()

    source = np.full(count, 4.0)
    result[inside] = levels.solve(source, tol=_TOLERANCE, accel="cg", maxiter=60, callback=each)
    # A thin part lies within the solver's tolerance of zero; its depth must not.
    arms = _arms(outline)[inside]
    result[inside] = np.maximum(result[inside], source / arms)
    return result


def _arms(outline: Outline) -> Doubles:
    """Return the matrix's diagonal (R, C): one over the distance to each neighbour or to the outline before it."""
    arms = np.zeros(outline.inside.shape)
    for axis, crossing in ((1, outline.right), (0, outline.down)):
        first, second = [slice(None), slice(None)], [slice(None), slice(None)]
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        cut = ~np.isnan(crossing)
        distance = np.where(cut, crossing, 1.0).astype(np.float64)
        arms[tuple(first)] += 1.0 / distance
        arms[tuple(second)] += 1.0 / np.where(cut, 1.0 - distance, 1.0)
    return arms


def _matrix(outline: Outline, count: int) -> Any:
    """Return the matrix of the inner nodes in reading order, CSR float64 (count, count)."""
    inside = outline.inside
    index = np.zeros(inside.shape, np.int32)
    index[inside] = np.arange(count, dtype=np.int32)
    across, along = inside[:, :-1] & inside[:, 1:], inside[:-1] & inside[1:]
    first = np.concatenate([index[:, :-1][across], index[:-1][along]])
    second = np.concatenate([index[:, 1:][across], index[1:][along]])
    links = sparse.csr_matrix((np.full(len(first), -1.0), (first, second)), shape=(count, count))
    return (links + links.T + sparse.diags(_arms(outline)[inside])).tocsr()


def depth_factors(outline: Outline, u: Doubles) -> Doubles:
    """Return the factor float64 (R, C) of u that makes its root the depth, one for each separate part.

    A disc keeps its u, whose root is a sphere. A bar's u would give an ellipse half as deep again as wide; the factor
    makes every part as deep, at its deepest, as its outline is away from there.
    """
    labels, count = ndimage.label(outline.inside, np.ones((3, 3), int))
    if not count:
        return np.ones(u.shape)
    peaks = np.asarray(ndimage.maximum_position(u, labels, np.arange(1, count + 1)), np.int64).reshape(-1, 2)
    r, c = peaks.T
    # The peak of the parabola through the three nodes of each direction lies between nodes.
    offset = np.zeros((count, 2))
    top = u[r, c].copy()
    for axis, (before, after) in enumerate(((u[r - 1, c], u[r + 1, c]), (u[r, c - 1], u[r, c + 1]))):
        bend = np.minimum(before - 2.0 * u[r, c] + after, -1e-9)
        slope = 0.5 * (after - before)
        offset[:, axis] = np.clip(-slope / bend, -0.5, 0.5)
        top += 0.5 * slope * offset[:, axis]
    distance, _ = cKDTree(_crossing_points(outline)).query(peaks + offset)
    factors = np.concatenate([[1.0], np.clip(np.asarray(distance, np.float64) ** 2 / top, _FLATTEST, 1.0)])
    return np.asarray(factors[labels], np.float64)


def _crossing_points(outline: Outline) -> Doubles:
    """Return where the outline crosses the grid, float64 (N, 2), row and column."""
    row, column = np.nonzero(~np.isnan(outline.right))
    on_rows = np.column_stack([row, column + outline.right[row, column]])
    row, column = np.nonzero(~np.isnan(outline.down))
    return np.vstack([on_rows, np.column_stack([row + outline.down[row, column], column])])
