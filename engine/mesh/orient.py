# SPDX-License-Identifier: GPL-3.0-or-later
"""Making faces that share an edge agree about which side is outside, and closed pieces face outwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .normals import dot
from .topology import HalfEdges, connected


def flipped_faces(
    positions: npt.NDArray[Any],
    faces: npt.NDArray[Any],
    edges: HalfEdges,
    crosses: npt.NDArray[np.float64],
    piece: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    """Return which faces (F,) must be turned over for all to agree.

    Two copies of each face, as it is and turned, are joined where they agree; a piece that can be oriented falls into
    two, of which one is chosen. A closed piece is made to face outwards, unless it lies inside another and faces in:
    that is a cavity. An open piece keeps the side that most of its area has; one that cannot be oriented (a Moebius
    strip) is left as it is. `crosses` are the `face_crosses`, `piece` the `face_pieces`.
    """
    turned, orientable, piece = _sides(edges, piece)
    pieces = int(piece.max(initial=-1)) + 1
    sign = np.where(turned, -1.0, 1.0)
    area = np.sqrt(dot(crosses, crosses))
    kept = np.bincount(piece, sign * area, pieces)
    start = np.asarray(positions[faces[:, 0]], np.float64)
    center = start.mean(axis=0) if len(faces) else np.zeros(3)
    volume = np.bincount(piece, sign * dot(start - center, crosses), pieces)
    open_ = np.zeros(pieces, np.bool_)
    lonely = np.repeat(edges.count != 2, edges.count)
    open_[piece[edges.order[lonely] // 3]] = True

    outward = np.where(open_, kept < 0, volume < 0)
    inward = np.flatnonzero(~open_ & (kept != 0) & (np.sign(kept) != np.sign(volume)) & (pieces > 1))
    if len(inward):
        outward[inward[_enclosed(positions, faces, piece, inward)]] ^= True
    return np.where(orientable, turned ^ outward[piece], False)


def _sides(
    edges: HalfEdges, piece: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which faces (F,) one side of their piece shows turned, which can be oriented, and the piece of each.

    That is `piece`, but that an edge of more than two faces joins none of them.
    """
    count = len(piece)
    pairs = edges.pairs()
    clash = edges.ascending[pairs[:, 0]] == edges.ascending[pairs[:, 1]]
    if not clash.any() and edges.count.max(initial=0) <= 2:
        return np.zeros(count, np.bool_), np.ones(count, np.bool_), piece
    face, other = pairs // 3, clash.astype(np.int64)
    first = np.concatenate([face[:, 0], face[:, 0] + count])
    second = np.concatenate([face[:, 1] + other * count, face[:, 1] + (1 - other) * count])
    label = connected(2 * count, first, second)
    own = np.unique(np.minimum(label[:count], label[count:]), return_inverse=True)[1]
    return label[:count] > label[count:], label[:count] != label[count:], own


def _enclosed(
    positions: npt.NDArray[Any], faces: npt.NDArray[Any], piece: npt.NDArray[np.int64], asked: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return which of the pieces `asked` (N,) lie inside the other pieces, by their winding number."""
    import igl

    others = ~np.isin(piece, asked)
    if not others.any():
        return np.zeros(len(asked), np.bool_)
    # A piece is inside if its outermost vertices are.
    mine = np.flatnonzero(~others)
    vertex, of_vertex = faces[mine].ravel(), np.repeat(np.searchsorted(asked, piece[mine]), 3)
    witness = []
    for axis in range(3):
        order = np.lexsort((positions[vertex, axis], of_vertex))
        first = np.searchsorted(of_vertex[order], np.arange(len(asked)))
        witness += [vertex[order[first]], vertex[order[np.append(first[1:], len(order)) - 1]]]
    points = np.asarray(positions[np.concatenate(witness)], np.float64)
    number = igl.fast_winding_number(
        np.ascontiguousarray(positions, np.float64), np.ascontiguousarray(faces[others], np.int64), points
    )
    inside: npt.NDArray[np.bool_] = (np.abs(np.asarray(number)) > 0.5).reshape(6, -1).all(axis=0)
    return inside
