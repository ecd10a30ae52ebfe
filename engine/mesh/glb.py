# SPDX-License-Identifier: GPL-3.0-or-later
"""GLB files: what they hold here, reading and writing them."""

from __future__ import annotations

from .glb_read import read_glb
from .glb_write import write_glb
from .model import Material, Mesh, Texture

__all__ = ["Material", "Mesh", "Texture", "read_glb", "write_glb"]
