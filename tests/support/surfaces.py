# SPDX-License-Identifier: GPL-3.0-or-later
"""Shapes that are hard on a remesher, and measures of what comes out; Y up, sizes of about 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from engine.mesh.closest import Surface
from tests.support.shapes import icosphere

Shape = tuple[np.ndarray, np.ndarray]


def join(*shapes: Shape) -> Shape:
    """Return the shapes as one mesh."""
    starts = np.cumsum([0] + [len(positions) for positions, _ in shapes])
    faces = np.concatenate([faces + start for (_, faces), start in zip(shapes, starts, strict=False)])
    return np.concatenate([positions for positions, _ in shapes]), faces.astype(np.int32)


def grid(n: int, place: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Shape:
    """Return `place` of n x n parameters from 0 to 1 as a mesh."""
    u, v = (axis.ravel() for axis in np.meshgrid(*[np.linspace(0, 1, n)] * 2, indexing="ij"))
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = (part.ravel() for part in (i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]))
    return place(u, v), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)


def box(size: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0), subdivisions: int = 0) -> Shape:
    """Return a closed box, each side of 2 * 4**subdivisions triangles."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = np.array([tri for a, b, c, d in quads for tri in ((a, b, c), (a, c, d))])
    for _ in range(subdivisions):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, edge = np.unique(edges, axis=0, return_inverse=True)
        ab, bc, ca = edge.reshape(3, -1) + len(corners)
        a, b, c = faces.T
        faces = np.concatenate([np.stack(f, 1) for f in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
        corners = np.concatenate([corners, corners[unique].mean(axis=1)])
    return corners * size + at, faces.astype(np.int32)


def sphere(radius: float, subdivisions: int = 4, at: tuple[float, float, float] = (0, 0, 0)) -> Shape:
    positions, faces = icosphere(subdivisions)
    return positions * radius + at, faces


def turned(shape: Shape, angle: float) -> Shape:
    """Return the shape turned about an axis that is parallel to nothing."""
    axis = np.array([1.0, 0.6, 0.4]) / np.linalg.norm([1.0, 0.6, 0.4])
    cross = np.cross(np.eye(3), axis)
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return shape[0] @ rotation, shape[1]


def sheet() -> Shape:
    return grid(3, lambda u, v: np.stack([u, 0.01 * u, v], axis=1))


def cloth() -> Shape:
    return grid(60, lambda u, v: np.stack([u, 0.12 * np.sin(7 * u) * np.cos(6 * v) + 0.05 * np.sin(13 * v), v], axis=1))


def chair() -> Shape:
    legs = [box((0.03, 0.8, 0.03), (x, -0.4, z)) for x in (-0.45, 0.45) for z in (-0.45, 0.45)]
    posts = [box((0.03, 0.9, 0.03), (x, 0.45, -0.47)) for x in (-0.45, 0.45)]
    slats = [box((0.95, 0.02, 0.02), (0, y, -0.47)) for y in (0.3, 0.5, 0.7, 0.88)]
    return join(box((1, 0.06, 1)), *legs, *posts, *slats)


def nested() -> Shape:
    return join(sphere(0.5), sphere(0.4), sphere(0.2), sphere(0.1))


def klein() -> Shape:
    """A figure-8 Klein bottle: closed, one-sided, and it passes through itself."""

    def place(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        u, v = 2 * np.pi * u, 2 * np.pi * v
        out = 2 + np.cos(u / 2) * np.sin(v) - np.sin(u / 2) * np.sin(2 * v)
        up = np.sin(u / 2) * np.sin(v) + np.cos(u / 2) * np.sin(2 * v)
        return np.stack([out * np.cos(u), up, out * np.sin(u)], axis=1) / 6

    return grid(90, place)


def bottle() -> Shape:
    """A thin vessel that is open at the top: its inside can be seen."""

    def place(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        radius = np.where(u < 0.02, 0.0, 0.3 + 0.1 * np.sin(5 * u) - 0.5 * np.maximum(u - 0.8, 0))
        return np.stack([radius * np.cos(2 * np.pi * v), u, radius * np.sin(2 * np.pi * v)], axis=1)

    return grid(80, place)


def boxes() -> Shape:
    return join(box((1, 0.4, 0.4)), box((0.4, 1, 0.4)), turned(box((0.35, 0.35, 1.1)), 0.5))


def head() -> Shape:
    """Like a monkey's head: a ball with ears stuck into it, eyes that float in sockets, and a mouth cut open."""
    ball, faces = sphere(0.4, 4)
    mouth = (ball[faces].mean(axis=1) @ [0, -0.5, 0.87]) > 0.39
    ears = [sphere(0.17, 3, (x, 0.1, 0)) for x in (-0.45, 0.45)]
    eyes = [sphere(0.09, 3, (x, 0.14, 0.35)) for x in (-0.15, 0.15)]
    return join((ball, faces[~mouth]), *ears, *eyes)


def soup() -> Shape:
    """Triangles of every size, thrown together."""
    rng = np.random.default_rng(4)
    corners = rng.uniform(-0.5, 0.5, (60, 1, 3)) + rng.uniform(-0.2, 0.2, (60, 3, 3)) * rng.uniform(0, 1, (60, 1, 1))
    return corners.reshape(-1, 3), np.arange(180, dtype=np.int32).reshape(-1, 3)


SHAPES: dict[str, Callable[[], Shape]] = {
    shape.__name__: shape for shape in (sheet, cloth, chair, nested, klein, bottle, boxes, head, soup)
}


def area(positions: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (positions[faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def volume(positions: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (positions[faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def edge_counts(faces: np.ndarray) -> np.ndarray:
    """Return how many faces lie at each edge."""
    ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(ends, axis=0, return_counts=True)[1]


def consistent(faces: np.ndarray) -> bool:
    """Return whether no two faces run along an edge in the same direction."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return len(np.unique(ends, axis=0)) == len(ends)


def extra_fans(faces: np.ndarray) -> int:
    """Return how many more fans of faces there are than vertices: 0 where every vertex is manifold."""
    corner = np.arange(3 * len(faces)).reshape(-1, 3)
    start = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    at = np.concatenate([corner[:, [0, 1]], corner[:, [1, 2]], corner[:, [2, 0]]])
    swap = start[:, 0] > start[:, 1]
    start[swap], at[swap] = start[swap, ::-1], at[swap, ::-1]
    order = np.lexsort(start.T)
    start, at = start[order], at[order]
    same = np.flatnonzero((start[1:] == start[:-1]).all(axis=1))
    one, two = at[same].ravel(), at[same + 1].ravel()
    joined = coo_matrix((np.ones(len(one)), (one, two)), shape=(corner.size, corner.size))
    return connected_components(joined, directed=False)[0] - len(np.unique(faces))


def samples(positions: np.ndarray, faces: np.ndarray, count: int = 20_000) -> np.ndarray:
    """Return points spread evenly over the surface (count, 3)."""
    rng = np.random.default_rng(1)
    a, b, c = (positions[faces[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(faces), count, p=areas / areas.sum())
    u, v = np.sqrt(rng.uniform(size=(count, 1))), rng.uniform(size=(count, 1))
    return (1 - u) * a[face] + u * (1 - v) * b[face] + u * v * c[face]


def distances(points: np.ndarray, shape: Shape) -> np.ndarray:
    return Surface(*shape).closest(points).distance
