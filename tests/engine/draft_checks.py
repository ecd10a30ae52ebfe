# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the draft engine measure meshes with, written without the engine's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from engine.backends.base import Asset
from engine.backends.draft import create
from engine.progress import Progress, Run
from engine.request import GenerationRequest

DATA = Path(__file__).resolve().parents[1] / "data"
PICTURES = ("rocket.png", "mushroom.webp", "mug.png", "ball.png", "duck.jpg")

Array = npt.NDArray[Any]


def generate(image: Path, folder: Path, **parameters: object) -> tuple[Asset, Run, list[Progress]]:
    """Make the asset of `image` in `folder`, which is made."""
    folder.mkdir(parents=True)
    backend = create()
    seen: list[Progress] = []
    run = Run(backend.stages, seen.append)
    return backend.generate(GenerationRequest.create(image, "draft", parameters), folder, run), run, seen


def welded(positions: Array, faces: Array) -> tuple[Array, Array]:
    """Return positions and faces with vertices of exactly the same place made one."""
    places, number = np.unique(positions, axis=0, return_inverse=True)
    return places, number.reshape(-1)[faces]


def faults(positions: Array, faces: Array) -> list[str]:
    """Return what keeps the welded mesh from being closed, oriented outward and manifold at edges and vertices."""
    places, faces = welded(positions, faces)
    found = []
    if (np.diff(np.sort(faces, axis=1), axis=1) == 0).any():
        found.append("a face uses a vertex twice")
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    directed = start.astype(np.int64) * len(places) + end
    if len(np.unique(directed)) != len(directed):
        found.append("two faces use an edge in the same direction")
    if not np.array_equal(np.sort(directed), np.sort(end.astype(np.int64) * len(places) + start)):
        found.append("an edge has no opposite")
    if not found and _fans(faces) != len(np.unique(faces)):
        found.append("a vertex holds several surfaces together")
    corner = places[faces].astype(np.float64)
    volume = np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() / 6
    if volume <= 0:
        found.append(f"the volume is {volume}")
    return found


def _fans(faces: Array) -> int:
    """Return the number of fans of faces about vertices: corners joined across the edges that they share."""
    count = len(faces)
    corner = np.arange(3 * count).reshape(count, 3)
    ends = []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        ends.append(np.column_stack([faces[:, a], faces[:, b], corner[:, a], corner[:, b]]))
    edges = np.concatenate(ends)
    swap = edges[:, 0] > edges[:, 1]
    edges[swap] = edges[swap][:, [1, 0, 3, 2]]
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    first, second = edges[::2], edges[1::2]
    assert np.array_equal(first[:, :2], second[:, :2])
    row, column = first[:, 2:].ravel(), second[:, 2:].ravel()
    joined = coo_matrix((np.ones(len(row), bool), (row, column)), shape=(3 * count, 3 * count))
    return int(connected_components(joined, directed=False)[0])


def silhouette(positions: Array, faces: Array, size: int, box: tuple[float, float, float, float]) -> Array:
    """Return the mesh as seen from the front, bool (size, size); `box` is left, bottom, right and top of the view."""
    left, bottom, right, top = box
    x = (positions[:, 0] - left) / (right - left) * size
    y = (top - positions[:, 1]) / (top - bottom) * size
    canvas = Image.new("1", (size * 2, size * 2))
    draw = ImageDraw.Draw(canvas)
    corners = np.stack([x, y], axis=1)[faces] * 2 - 0.5
    for triangle in corners.reshape(-1, 6).tolist():
        draw.polygon(triangle, fill=1)
    return np.asarray(canvas.convert("L").resize((size, size), Image.Resampling.BOX)) > 127


def extent(mask: Array) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of what is set, from pixel edge to pixel edge."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def overlap(positions: Array, faces: Array, mask: Array) -> float:
    """Return the intersection over union of `mask` and the mesh's silhouette, laid on it by their extents."""
    left, top, right, bottom = extent(mask)
    low, high = positions.min(axis=0), positions.max(axis=0)
    scale = max(right - left, bottom - top) / max(high[0] - low[0], high[1] - low[1])
    x, y = (left + right) / 2, (top + bottom) / 2
    middle = (low + high) / 2
    size = max(mask.shape)
    padded = np.zeros((size, size), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    box = (
        middle[0] - x / scale, middle[1] - (size - y) / scale, middle[0] + (size - x) / scale, middle[1] + y / scale
    )  # fmt: skip
    seen = silhouette(positions, faces, size, box)
    return float((seen & padded).sum() / (seen | padded).sum())
