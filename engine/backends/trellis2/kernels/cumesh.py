# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of CuMesh's `CuMesh` that decoding a shape makes, in front of `holes`."""

from __future__ import annotations

import torch

from .holes import Boundary, fill_holes, find_boundary


class CuMesh:
    """A triangle mesh whose small holes can be filled. What the calls to `get_*` prepare is found when it is needed."""

    def __init__(self) -> None:
        self._vertices = torch.zeros((0, 3))
        self._faces = torch.zeros((0, 3), dtype=torch.int32)
        self._boundary: Boundary | None = None

    def init(self, vertices: torch.Tensor, faces: torch.Tensor) -> None:
        """Take float (V, 3) `vertices` and int (F, 3) `faces`. Raises ValueError for other shapes."""
        if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise ValueError(f"{tuple(vertices.shape)} and {tuple(faces.shape)} are no mesh of triangles")
        self._vertices, self._faces, self._boundary = vertices, faces, None

    @property
    def num_vertices(self) -> int:
        """The number of vertices."""
        return len(self._vertices)

    @property
    def num_faces(self) -> int:
        """The number of faces."""
        return len(self._faces)

    @property
    def num_boundaries(self) -> int:
        """The number of open edges."""
        return len(self._found().edges)

    @property
    def num_boundary_loops(self) -> int:
        """The number of loops that the open edges make."""
        return self._found().loops

    def get_edges(self) -> None:
        """Prepare nothing."""

    get_boundary_info = get_edges
    get_vertex_edge_adjacency = get_edges
    get_vertex_boundary_adjacency = get_edges
    get_manifold_boundary_adjacency = get_edges
    get_boundary_connected_components = get_edges
    get_boundary_loops = get_edges

    def read_manifold_boundary_adjacency(self) -> None:
        """Read nothing: upstream calls it for its side effect alone."""

    def fill_holes(self, max_hole_perimeter: float = 3e-2) -> None:
        """Close each hole whose perimeter is below `max_hole_perimeter`."""
        self._vertices, self._faces = fill_holes(self._vertices, self._faces, self._found(), max_hole_perimeter)
        self._boundary = None

    def read(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vertices and the faces."""
        return self._vertices, self._faces

    def clear_cache(self) -> None:
        """Forget what was found out about the mesh."""
        self._boundary = None

    def _found(self) -> Boundary:
        if self._boundary is None:
            self._boundary = find_boundary(self._faces, len(self._vertices))
        return self._boundary
