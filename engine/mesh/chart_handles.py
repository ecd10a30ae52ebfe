# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting the handles of charts open: a surface with a handle cannot lie in the plane, however it is bent.

Tree and cotree (Eppstein 2003, "Dynamic generators of topologically embedded graphs"): a spanning tree of the vertices
and one of the faces that crosses none of its edges leave two edges over for every handle. The loop that such an edge
closes does not separate the surface, so cutting along the shortest of them opens a handle.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from ..progress import Run
from .charts import connected_charts
from .flatten import Float, Index, Patchwork, cut_out

ROUNDS = 12
"""Charts with more handles than this stay as they are."""


def open_handles(positions: Float, faces: Index, pairs: Index, labels: Index, run: Run | None = None) -> Index:
    """Return `pairs` (M, 2) without those across which the charts `labels` (F,) are to be cut to have no handle."""
    for _ in range(ROUNDS):
        labels = connected_charts(labels, pairs)
        work = cut_out(positions, faces, pairs, labels)
        edges = _Edges(work)
        handles = edges.genus()
        busy = np.flatnonzero(handles > 0)
        labels[~np.isin(labels, busy)] = -1
        if not len(busy):
            break
        cut: list[Index] = []
        for chart in busy:
            if run is not None:
                run.check()
            cut.append(edges.shortest_loop(int(chart)))
        half = np.concatenate(cut)
        original = work.source[half // 3] * 3 + half % 3
        pairs = pairs[~np.isin(pairs, original).any(axis=1)]
    return pairs


class _Edges:
    """The edges of a patchwork, ordered by chart: their ends, one half-edge of each, and the faces beside them."""

    def __init__(self, work: Patchwork) -> None:
        self.work = work
        start, end = work.corners.ravel(), np.roll(work.corners, -1, axis=1).ravel()
        self.count = len(work.vertex_chart)
        key = np.minimum(start, end) * self.count + np.maximum(start, end)
        order = np.argsort(key, kind="stable")
        head = np.flatnonzero(np.concatenate(([True], np.diff(key[order]) != 0))) if len(key) else order
        self.half = order[head]
        self.uses = np.diff(head, append=len(order))
        self.one, self.two = np.divmod(key[self.half], self.count)
        self.left = self.half // 3
        self.right = np.where(self.uses > 1, order[np.minimum(head + 1, len(order) - 1)] // 3, -1)
        border = self.uses == 1
        graph = coo_matrix((np.ones(int(border.sum())), (self.one[border], self.two[border])), (self.count, self.count))
        self.loop = connected_components(graph, directed=False)[1]
        self.start = np.searchsorted(work.vertex_chart[self.one], np.arange(work.charts + 1))

    def genus(self) -> Index:
        """Return int64 (charts,): the number of handles of each chart, 0 for charts without a border."""
        work, border = self.work, self.uses == 1
        first = np.unique(self.loop[self.one[border]], return_index=True)[1]
        loops = np.bincount(work.vertex_chart[self.one[border][first]], minlength=work.charts)
        euler = np.diff(work.vertex_start) - np.diff(self.start) + np.diff(work.face_start)
        result: Index = np.where(loops > 0, (2 - loops - euler) // 2, 0)
        return result

    def shortest_loop(self, chart: int) -> Index:
        """Return half-edges, one for each edge of a loop that does not separate `chart`, which has a handle."""
        edges = np.arange(self.start[chart], self.start[chart + 1])
        first = self.work.vertex_start[chart]
        count = int(self.work.vertex_start[chart + 1] - first)
        one, two = self.one[edges] - first, self.two[edges] - first
        number = np.arange(1, len(edges) + 1)
        graph = coo_matrix((number, (one, two)), (count, count)).tocsr()
        order, parent = breadth_first_order(graph, 0, directed=False)
        in_tree = (parent[one] == two) | (parent[two] == one)
        base = self.work.face_start[chart]
        size = int(self.work.face_start[chart + 1] - base)
        left = self.left[edges] - base
        right = np.where(self.uses[edges] > 1, self.right[edges] - base, size + self.loop[self.one[edges]])
        nodes, packed = np.unique(np.concatenate((left, right)), return_inverse=True)
        left, right = packed[: len(edges)], packed[len(edges) :]
        interior = self.uses[edges] > 1
        free = np.flatnonzero(~in_tree)
        free = free[np.argsort(interior[free], kind="stable")]  # borders first, so that only inner edges are left over
        crossed = np.minimum(left, right)[free] * len(nodes) + np.maximum(left, right)[free]
        single = np.sort(np.unique(crossed, return_index=True)[1])  # two faces may share two edges
        dual = coo_matrix((single + 1.0, (left[free[single]], right[free[single]])), (len(nodes), len(nodes)))
        cotree = minimum_spanning_tree(dual.tocsr())
        kept = np.zeros(len(edges), dtype=bool)
        kept[free] = True
        kept[free[np.round(cotree.data).astype(np.int64) - 1]] = False
        depth = np.zeros(count, dtype=np.int64)
        for vertex in order[1:]:
            depth[vertex] = depth[parent[vertex]] + 1
        spare = np.flatnonzero(kept & interior)
        loops = [self._loop(int(one[e]), int(two[e]), parent, depth) for e in spare]
        if not loops:
            return np.zeros(0, dtype=np.int64)
        loop = min(loops, key=len)
        steps = np.sort(np.stack((loop, np.roll(loop, -1)), axis=1), axis=1)
        found = np.isin(one * count + two, steps[:, 0] * count + steps[:, 1])
        result: Index = self.half[edges[found & interior]]
        return result

    @staticmethod
    def _loop(one: int, two: int, parent: Index, depth: Index) -> list[int]:
        """Return the vertices of the loop that the edge from `one` to `two` closes in the tree."""
        left, right = [one], [two]
        while one != two:
            if depth[one] >= depth[two]:
                one = int(parent[one])
                left.append(one)
            else:
                two = int(parent[two])
                right.append(two)
        return left + right[-2::-1] if left[-1] == right[-1] else left + right[::-1]
