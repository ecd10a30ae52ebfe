# SPDX-License-Identifier: GPL-3.0-or-later
"""Shells of a contoured surface that nobody can see: those that lie inside another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .dual_contour import Cells, Quads
from .voxels import Band, Corners


def components(quads: Quads, vertices: int) -> npt.NDArray[np.int32]:
    """Return which piece each of `vertices` vertices belongs to, int32 (V,), numbered from 0."""
    start, end = quads.ring[:, :3].ravel(), quads.ring[:, 1:].ravel()
    joined = sparse.coo_matrix((np.ones(len(start), np.int8), (start, end)), shape=(vertices, vertices))
    _, label = sparse.csgraph.connected_components(joined.tocsr(), directed=False)
    return np.asarray(label, np.int32)


def cut_short(
    label: npt.NDArray[np.int32], cells: Cells, quads: Quads, corners: Corners, band: Band
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which pieces (P,) lack cells, and the cells at which those of them end that face the outside for sure.

    Any such cell means that the outside reaches farther than was looked at.
    """
    lacking = np.zeros(int(label.max(initial=-1)) + 1, np.bool_)
    ends = np.concatenate(
        [
            np.stack([more, label[cells.first[more] + patch]], axis=1)
            for patch in range(4)
            for more in [quads.open_cells[cells.patches[quads.open_cells] > patch]]
        ]
    )
    lacking[ends[:, 1]] = True
    if not lacking.any():
        return lacking, np.zeros(0, np.int64)
    piece = label[quads.ring[:, 0]]
    quad = np.flatnonzero(lacking[piece])
    outer = np.where(quads.turned[quad], quads.low[quad], quads.high[quad])
    facing = np.zeros(len(lacking), np.bool_)
    facing[piece[quad[band.outside(corners.place[outer])]]] = True
    return lacking, np.unique(ends[facing[ends[:, 1]], 0])


def visible(
    label: npt.NDArray[np.int32], quads: Quads, corners: Corners, ignored: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return which pieces (P,) no other piece encloses, leaving out those `ignored` (P,).

    The grid line along x through a piece's last crossing is followed to infinity: another piece that it crosses an
    odd number of times encloses this one. That is exact, for nothing but the signs at the corners is asked. A piece
    is kept or dropped whole, so that the result stays closed, and whatever is open to the outside stays.
    """
    piece = label[quads.ring[:, 0]]
    chosen = np.flatnonzero((quads.axis == 0) & ~ignored[piece])
    piece = piece[chosen].astype(np.int64)
    x, y, z = corners.place[quads.low[chosen]].astype(np.int64).T
    line = y * (int(z.max(initial=0)) + 1) + z
    last_x = np.full(len(ignored), -1, np.int64)
    np.maximum.at(last_x, piece, x)
    last = np.flatnonzero(x == last_x[piece])
    last = last[np.unique(piece[last], return_index=True)[1]]

    # Pair each piece's last crossing with all crossings beyond it on its line, and count by pairs of pieces.
    order = np.lexsort((x, line))
    end = np.searchsorted(line[order], line[last], side="right")
    key = line[order] * (int(x.max(initial=0)) + 2) + x[order]
    begin = np.searchsorted(key, line[last] * (int(x.max(initial=0)) + 2) + x[last], side="right")
    enclosed = np.zeros(len(ignored), np.bool_)
    block = 1 << 16
    for start in range(0, len(last), block):
        some = slice(start, start + block)
        count = end[some] - begin[some]
        inner = np.repeat(piece[last[some]], count)
        at = np.repeat(begin[some] - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        pairs, times = np.unique(inner * len(ignored) + piece[order[at]], return_counts=True)
        enclosed[pairs[times % 2 == 1] // len(ignored)] = True
    return ~enclosed & ~ignored
