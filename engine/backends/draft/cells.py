# SPDX-License-Identifier: GPL-3.0-or-later
"""The inside of the outline as triangles of grid nodes: fine at the rim, coarser inward (a balanced quadtree)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .outline import Bools, Outline

Ints = npt.NDArray[np.int64]

LARGEST = 8
"""Cells on a side of the largest leaf."""


@dataclass(frozen=True, slots=True)
class Interior:
    """Triangles of inner nodes and the cells that the outline cuts.

    Nodes are numbered row * columns + column. `triangles` int64 (T, 3), counter-clockwise as seen with rows going down.
    `cut` int64 (K, 2): row and column of the cells with both inner and outer corners.
    """

    triangles: Ints
    cut: Ints


def tile(outline: Outline, height: npt.NDArray[np.float64]) -> Interior:
    """Tile the inside of `outline`; `height` (R, C) chooses the diagonal of each square, the higher one.

    A square of s cells is a leaf where it and its eight neighbours of the same size lie wholly inside. It follows that
    leaves which share an edge differ by a factor of two at most, so that no edge has more than one hanging node.
    """
    inside = outline.inside
    columns = inside.shape[1]
    whole = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:] & inside[1:, 1:]
    some = inside[:-1, :-1] | inside[1:, :-1] | inside[:-1, 1:] | inside[1:, 1:]
    leaves = _leaves(whole)
    used = np.zeros(inside.shape, bool)
    corners = [_corners(at, size, columns) for size, at in leaves]
    for four in corners:
        used.ravel()[four] = True
    row, column = np.nonzero(some & ~whole)
    for four in (row * columns + column + shift for shift in (0, 1, columns, columns + 1)):
        used.ravel()[four] = True
    flat, heights = used.ravel(), height.ravel()
    triangles: list[Ints] = []
    for (size, _), four in zip(leaves, corners, strict=True):
        half = size // 2
        if half == 0:
            triangles.append(_halve(four, heights))
            continue
        middles = np.stack(
            [four[:, 0] + half * columns, four[:, 1] + half, four[:, 2] - half * columns, four[:, 3] - half], axis=1
        )
        hanging = flat[middles]
        plain = ~hanging.any(axis=1)
        triangles.append(_halve(four[plain], heights))
        triangles.append(_fan(four[~plain], middles[~plain], hanging[~plain], half * columns + half))
    return Interior(np.concatenate(triangles), np.column_stack([row, column]))


def _leaves(whole: Bools) -> list[tuple[int, Ints]]:
    """Return the leaves' sizes and upper left cells (N, 2), largest first; `whole` tells which cells lie inside."""
    levels = [whole]
    while levels[-1].shape[0] > 1 and 2 ** len(levels) <= LARGEST:
        last = levels[-1]
        levels.append(last[::2, ::2] & last[1::2, ::2] & last[::2, 1::2] & last[1::2, 1::2])
    leaves: list[tuple[int, Ints]] = []
    covered = np.zeros_like(levels[-1])
    for level in range(len(levels) - 1, -1, -1):
        blocks = levels[level]
        if level != len(levels) - 1:
            covered = covered.repeat(2, axis=0).repeat(2, axis=1)
        leaf = (blocks if level == 0 else _surrounded(blocks)) & ~covered
        covered |= leaf
        leaves.append((2**level, np.argwhere(leaf) * 2**level))
    return leaves


def _surrounded(blocks: Bools) -> Bools:
    """Return where a block and its eight neighbours are all set."""
    framed = np.pad(blocks, 1)
    rows = framed[:-2] & framed[1:-1] & framed[2:]
    return np.asarray(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:])


def _corners(at: Ints, size: int, columns: int) -> Ints:
    """Return the four corner nodes (N, 4) of squares: upper left, lower left, lower right, upper right."""
    first = at[:, 0] * columns + at[:, 1]
    return np.stack([first, first + size * columns, first + size * columns + size, first + size], axis=1)


def _halve(four: Ints, height: npt.NDArray[np.float64]) -> Ints:
    """Return two triangles for each square, split along its higher diagonal."""
    falling = height[four[:, 0]] + height[four[:, 2]] >= height[four[:, 1]] + height[four[:, 3]]
    turned = np.where(falling[:, None], four, np.roll(four, -1, axis=1))
    return np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]])


def _fan(four: Ints, middles: Ints, hanging: Bools, to_centre: int) -> Ints:
    """Return triangles about the centre of each square, whose edges are split where a middle node hangs."""
    centre = four[:, 0] + to_centre
    triangles: list[Ints] = []
    for edge in range(4):
        start, end, middle = four[:, edge], four[:, (edge + 1) % 4], middles[:, edge]
        split = hanging[:, edge]
        triangles.append(np.stack([centre, start, end], axis=1)[~split])
        triangles.append(np.stack([centre, start, middle], axis=1)[split])
        triangles.append(np.stack([centre, middle, end], axis=1)[split])
    return np.concatenate(triangles)
