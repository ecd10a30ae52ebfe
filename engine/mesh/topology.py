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
    start = np.ascontiguousarray(faces).reshape(-1)
    end = np.ascontiguousarray(np.roll(faces, -1, axis=1)).reshape(-1)
    low, high = np.minimum(start, end), np.maximum(start, end)
    count = len(start)
    vertex_bits, index_bits = int(faces.max(initial=0)).bit_length(), count.bit_length()
    if 2 * vertex_bits + index_bits <= 63:  # sorting packed pairs of key and index is twice as fast as an argsort
        key = low.astype(np.int64)
        for shift, part in ((vertex_bits, high), (index_bits, np.arange(count))):
            key <<= shift
            key |= part
        key.sort()
        order = key & ((1 << index_bits) - 1)
        key >>= index_bits
    else:
        key = low.astype(np.int64) * (int(faces.max(initial=0)) + 1) + high
        order = np.argsort(key, kind="stable")
        key = key[order]
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if count else np.zeros(0, np.int64)
    return HalfEdges(order, first, np.diff(np.append(first, count)), start < end)


def neighbors(count: int, edges: HalfEdges) -> npt.NDArray[np.int32]:
    """Return the face int32 (F, 3) beyond the edge after each corner of `count` faces.

    It is the face itself where the edge does not have exactly two faces.
    """
    beyond = np.repeat(np.arange(count, dtype=np.int32), 3)
    one, two = edges.pairs().T
    beyond[one], beyond[two] = two // 3, one // 3
    return beyond.reshape(-1, 3)


def connected(count: int, first: Ints, second: Ints) -> npt.NDArray[np.int64]:
    """Return the piece int64 (count,) of each of `count` nodes that the pairs `first`, `second` (N,) join."""
    joined = sparse.coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    _, label = sparse.csgraph.connected_components(joined.tocsr(), directed=False)
    return np.asarray(label, np.int64)


def linked(links: Ints) -> npt.NDArray[np.int64]:
    """Return the piece int64 (N,) of each node; row n of `links` int (N, K) are those it is joined with, and back."""
    count, width = links.shape
    rows = np.arange(0, links.size + 1, width, dtype=np.int32)
    matrix = sparse.csr_matrix((np.ones(links.size, np.int8), links.ravel(), rows), shape=(count, count))
    # The matrix is symmetric: its strongly connected components are those sought, and need no transposed copy.
    _, label = sparse.csgraph.connected_components(matrix, directed=True, connection="strong")
    return np.asarray(label, np.int64)


def face_pieces(faces: Ints, edges: HalfEdges) -> npt.NDArray[np.int64]:
    """Return the piece int64 (F,) of each face; faces that share an edge are of one piece."""
    count = len(faces)
    if edges.count.max(initial=0) > 2:
        leader = np.repeat(edges.order[edges.start] // 3, edges.count)
        return connected(count, leader, edges.order // 3)
    return linked(neighbors(count, edges))


def used_vertices(faces: Ints, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which of `count` vertices `faces` int (F, 3) uses, in order, and the faces renumbered to those."""
    used = np.zeros(count, np.bool_)
    used[faces] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[faces]
