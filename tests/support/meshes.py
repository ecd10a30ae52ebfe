# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes, textures and GLB files made of known geometry, for tests and benchmarks."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]
Faces = npt.NDArray[np.uint32]


def icosphere(subdivisions: int) -> tuple[npt.NDArray[np.float64], Faces]:
    """Return unit directions (V, 3) and faces (F, 3) of an icosahedron divided `subdivisions` times."""
    t = (1 + 5**0.5) / 2
    ring = [(-1, t, 0), (1, t, 0), (-1, -t, 0), (1, -t, 0)]
    vertices = np.array([*ring, *((c, a, b) for a, b, c in ring), *((b, c, a) for a, b, c in ring)], dtype=float)
    distance = np.linalg.norm(vertices[:, None] - vertices[None], axis=2)
    near = np.isclose(distance, 2.0)
    triples = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if near[i, j] and near[j, k] and near[i, k]
    ]
    faces = np.array(triples)
    corner = vertices[faces]
    inward = np.einsum("ij,ij->i", np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), corner[:, 0]) < 0
    faces[inward] = faces[inward][:, ::-1]
    vertices /= np.linalg.norm(vertices, axis=1)[:, None]
    for _ in range(subdivisions):
        ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
        keys, inverse = np.unique(ends[:, 0] * len(vertices) + ends[:, 1], return_inverse=True)
        middle = vertices[keys // len(vertices)] + vertices[keys % len(vertices)]
        middle /= np.linalg.norm(middle, axis=1)[:, None]
        (a, b, c), (x, y, z) = faces.T, (inverse.reshape(-1, 3) + len(vertices)).T
        faces = np.concatenate([np.stack(f, axis=1) for f in ((a, x, z), (b, y, x), (c, z, y), (x, y, z))])
        vertices = np.concatenate([vertices, middle])
    return vertices, faces.astype(np.uint32)


def bumpy_sphere(subdivisions: int) -> tuple[Floats, Faces, Floats, Floats]:
    """Return positions, faces, smooth normals and UVs of a bumpy sphere, its vertices split along the UV seam.

    With 8 subdivisions: 655,362 vertices before splitting, 1,310,720 faces.
    """
    direction, faces = icosphere(subdivisions)
    x, y, z = direction.T
    radius = 1 + 0.08 * np.sin(9 * x) * np.sin(11 * y) * np.sin(7 * z) + 0.02 * np.sin(40 * x) * np.cos(37 * y)
    positions = (direction * radius[:, None] * 0.45).astype(np.float32)
    normals = smooth_normals(positions, faces)
    u = np.arctan2(z, x) / (2 * np.pi) + 0.5
    uvs = np.stack([u, np.arccos(np.clip(y, -1, 1)) / np.pi], axis=1).astype(np.float32)
    across = np.ptp(uvs[faces, 0], axis=1) > 0.5
    low = across[:, None] & (uvs[faces, 0] < 0.5)
    seam = np.unique(faces[low])
    moved = np.arange(len(positions), dtype=np.uint32)
    moved[seam] = len(positions) + np.arange(len(seam))
    faces = faces.copy()
    faces[low] = moved[faces[low]]
    shifted = uvs[seam] + np.array([1, 0], np.float32)
    return (
        np.concatenate([positions, positions[seam]]),
        faces,
        np.concatenate([normals, normals[seam]]),
        np.concatenate([uvs, shifted]),
    )


def smooth_normals(positions: Floats, faces: Faces) -> Floats:
    """Return the area-weighted unit normals (V, 3)."""
    corner = positions[faces].astype(float)
    face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(face[:, axis], 3), len(positions)) for axis in range(3)], axis=1
    )
    unit: Floats = (total / np.linalg.norm(total, axis=1)[:, None]).astype(np.float32)
    return unit


def cube() -> tuple[Floats, Faces, Floats, Floats]:
    """Return a unit cube as glTF exporters write it: 24 vertices, flat normals, one UV square a side."""
    positions, normals, uvs, faces = [], [], [], []
    for axis in range(3):
        for sign in (-1, 1):
            normal = np.zeros(3)
            normal[axis] = sign
            right = np.roll(normal, 1) * sign
            up = np.cross(normal, right)
            start = len(positions)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                positions.append((normal + a * right + b * up) / 2)
                normals.append(normal)
                uvs.append(((a + 1) / 2, (b + 1) / 2))
            faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    return (
        np.array(positions, np.float32),
        np.array(faces, np.uint32),
        np.array(normals, np.float32),
        np.array(uvs, np.float32),
    )


def encoded_image(size: int = 8, kind: str = "PNG", seed: int = 0, alpha: int | None = None) -> bytes:
    """Return a patterned image of `size` pixels square; one with `alpha` has that value at its left half."""
    across = np.linspace(0, 1, size)
    grid = np.stack(
        [
            np.add.outer(across, across * (seed + 1)) % 1,
            np.outer(across, across),
            1 - across[None] * np.ones((size, 1)),
        ],
        -1,
    )
    pixels = (grid * 255).astype(np.uint8)
    if alpha is not None:
        channel = np.full((size, size, 1), 255, np.uint8)
        channel[:, : size // 2] = alpha
        pixels = np.concatenate([pixels, channel], axis=2)
    stream = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def pack_glb(document: dict[str, Any] | bytes, binary: bytes = b"") -> bytes:
    """Return a GLB file of a JSON document, or of bytes in its place, and a binary chunk."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if binary:
        binary += b"\0" * (-len(binary) % 4)
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def unpack_glb(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON document and the binary chunk of a valid GLB file."""
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]
