# SPDX-License-Identifier: GPL-3.0-or-later
"""The GLB files that a test server hands out, whole and spoilt."""

from __future__ import annotations

import io
import struct
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from engine.mesh.glb import Material, Mesh, Texture, write_glb
from engine.mesh.glb_format import GENERATOR
from tests.support.baking import cube_map, split_at_seams
from tests.support.bumpy import bumpy_icosphere


@cache
def finished_asset(subdivisions: int = 3, texture: int = 64, seed: int = 0) -> bytes:
    """Return a GLB file of a bumpy sphere with texture coordinates and a color texture of noise."""
    positions, faces = bumpy_icosphere(subdivisions)
    positions, faces, uvs = split_at_seams(positions, faces, cube_map(positions, faces))
    pixels = np.random.default_rng(seed).integers(0, 256, (texture, texture, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    mesh = Mesh(positions.astype(np.float32), faces.astype(np.uint32), None, uvs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asset.glb"
        write_glb(path, mesh, Material(base_color=Texture(encoded.getvalue(), "image/png")), name=f"Asset {seed}")
        ours, theirs = f'"generator":"{GENERATOR}"'.encode(), f'"generator":"{"a server":<{len(GENERATOR)}}"'.encode()
        glb = path.read_bytes()
        assert len(ours) == len(theirs)
        assert glb.count(ours) == 1
        return glb.replace(ours, theirs)  # what a server has written stays byte by byte as it comes


def declaring(glb: bytes, length: int) -> bytes:
    """Return `glb` with a header that tells another `length`."""
    return glb[:8] + struct.pack("<I", length) + glb[12:]


def corrupt(glb: bytes) -> bytes:
    """Return `glb`, as long as it was, with a description that is not JSON."""
    size = struct.unpack("<I", glb[12:16])[0]
    return glb[:20] + b"{" * size + glb[20 + size :]


def picture() -> bytes:
    """Return a small PNG file."""
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 40)).save(encoded, "PNG")
    return encoded.getvalue()
