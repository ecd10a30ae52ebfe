# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faces meet at which edges, and the pieces they form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class HalfEdges:
    """The 3 F half-edges of a mesh sorted by edge; half-edge 3 f + k runs from corner k of face f to the next.

    `order` int64 (3 F,) lists them edge by edge; edge e holds `order[start[e]:start[e] + count[e]]`.
    `ascending` bool (3 F,): half-edge h runs from the lower to the higher vertex.
    """

    order: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    ascending: npt.NDArray[np.bool_]

    def pairs(self) -> npt.NDArray[np.int64]:
        """Return the two half-edges (N, 2) of each edge that has exactly two."""
        first = self.start[self.count == 2]
        return np.stack([self.order[first], self.order[first + 1]], axis=1)


def half_edges(faces: Ints) -> HalfEdges:
    """Return the half-edges of `faces` int (F, 3)."""
    start = faces.ravel().astype(np.int64)
    end = np.roll(faces, -1, axis=1).ravel().astype(np.int64)
    span = int(faces.max(initial=0)) + 1
    key = np.minimum(start, end) * span + np.maximum(start, end)
    if span * span * len(key) < 2**63:  # sorting packed pairs of key and index is twice as fast as an argsort
        packed = np.sort(key * len(key) + np.arange(len(key)))
        sorted_key, order = packed // max(len(key), 1), packed % max(len(key), 1)
    else:
        order = np.argsort(key, kind="stable")
        sorted_key = key[order]
    first = np.flatnonzero(np.append(True, sorted_key[1:] != sorted_key[:-1])) if len(key) else np.zeros(0, np.int64)
    return HalfEdges(order, first, np.diff(np.append(first, len(key))), start < end)


def connected(count: int, first: Ints, second: Ints) -> npt.NDArray[np.int64]:
    """Return the piece int64 (count,) of each of `count` nodes that the pairs `first`, `second` (N,) join."""
    joined = sparse.coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    _, label = sparse.csgraph.connected_components(joined.tocsr(), directed=False)
    return np.asarray(label, np.int64)


def face_pieces(faces: Ints, edges: HalfEdges) -> npt.NDArray[np.int64]:
    """Return the piece int64 (F,) of each face; faces that share an edge are of one piece."""
    leader = np.repeat(edges.order[edges.start] // 3, edges.count)
    return connected(len(faces), leader, edges.order // 3)


def used_vertices(faces: Ints, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which of `count` vertices `faces` int (F, 3) uses, in order, and the faces renumbered to those."""
    used = np.zeros(count, np.bool_)
    used[faces] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[faces]
