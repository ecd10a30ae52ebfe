# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes."""

from __future__ import annotations

from typing import Any

from . import running


class Mesh:
    """`vertices` (V, 3) and `faces` (F, 3)."""

    def __init__(self, vertices: Any, faces: Any, vertex_attrs: Any = None) -> None:
        self.vertices, self.faces, self.vertex_attrs = vertices.float(), faces.int(), vertex_attrs

    def fill_holes(self, max_hole_perimeter: float = 3e-2) -> None:
        """Find none."""
        running("fill_holes")
