# SPDX-License-Identifier: GPL-3.0-or-later
"""Making faces that share an edge agree about which side is outside, and closed pieces face outwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .normals import dot, face_crosses
from .topology import HalfEdges, connected


def flipped_faces(positions: npt.NDArray[Any], faces: npt.NDArray[Any], edges: HalfEdges) -> npt.NDArray[np.bool_]:
    """Return which faces (F,) must be turned over for all to agree.

    Two copies of each face, as it is and turned, are joined where they agree; a piece that can be oriented falls into
    two, of which one is chosen. A closed piece is made to face outwards, unless it lies inside another and faces in:
    that is a cavity. An open piece keeps the side that most of its area has; one that cannot be oriented (a Moebius
    strip) is left as it is.
    """
    count = len(faces)
    pairs = edges.pairs()
    face = pairs // 3
    clash = (edges.ascending[pairs[:, 0]] == edges.ascending[pairs[:, 1]]).astype(np.int64)
    first = np.concatenate([face[:, 0], face[:, 0] + count])
    second = np.concatenate([face[:, 1] + clash * count, face[:, 1] + (1 - clash) * count])
    label = connected(2 * count, first, second)
    turned = label[:count] > label[count:]
    orientable = label[:count] != label[count:]

    _, piece = np.unique(np.minimum(label[:count], label[count:]), return_inverse=True)
    piece = piece.ravel()
    pieces = int(piece.max(initial=-1)) + 1
    crosses = face_crosses(positions, faces)
    sign = np.where(turned, -1.0, 1.0)
    area = np.sqrt(dot(crosses, crosses))
    kept = np.bincount(piece, sign * area, pieces)
    center = np.asarray(positions[np.unique(faces)], np.float64).mean(axis=0) if count else np.zeros(3)
    volume = np.bincount(piece, sign * dot(_middles(positions, faces) - center, crosses), pieces)
    open_ = np.zeros(pieces, np.bool_)
    lonely = np.repeat(edges.count != 2, edges.count)
    open_[piece[edges.order[lonely] // 3]] = True

    outward = np.where(open_, kept < 0, volume < 0)
    inward = np.flatnonzero(~open_ & (kept != 0) & (np.sign(kept) != np.sign(volume)) & (pieces > 1))
    if len(inward):
        outward[inward[_enclosed(positions, faces, piece, inward)]] ^= True
    return np.where(orientable, turned ^ outward[piece], False)


def _middles(positions: npt.NDArray[Any], faces: npt.NDArray[Any]) -> npt.NDArray[Any]:
    middles: npt.NDArray[Any] = (positions[faces[:, 0]] + positions[faces[:, 1]] + positions[faces[:, 2]]) / 3
    return middles


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
