# SPDX-License-Identifier: GPL-3.0-or-later
"""A small orthographic renderer, to see and to measure what a textured mesh looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.mesh.color import LINEAR_OF_BYTE, to_srgb
from engine.mesh.normals import cross, dot, normalize, vertex_normals
from engine.mesh.raster import rasterize
from engine.mesh.tangents import corner_tangents

Shade = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(face (N,), weights (N, 2)) -> linear color (N, 3)"""
Relief = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(face (N,), weights (N, 2)) -> normals (N, 3)"""


@dataclass
class Subject:
    """What to render: corners (F, 3, 3), the albedo and the shading normal at places of faces."""

    corners: np.ndarray
    albedo: Shade
    normal: Relief


def view_directions(count: int = 12) -> np.ndarray:
    """Return unit vectors (N, 3) spread evenly over the sphere (a Fibonacci lattice)."""
    number = np.arange(count) + 0.5
    z = 1 - 2 * number / count
    angle = np.pi * (1 + 5**0.5) * number
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)


def render(subject: Subject, direction: np.ndarray, size: int = 512, extent: float = 0.55) -> np.ndarray:
    """Return an sRGB image, float (size, size, 3), of `subject` seen along -`direction`, lit from the upper left."""
    back = normalize(np.asarray(direction, dtype=np.float64)[None])[0]
    helper = np.array([0.0, 1.0, 0.0]) if abs(back[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = normalize(cross(helper[None], back[None]))[0]
    up = cross(back[None], right[None])[0]
    camera = subject.corners @ np.stack([right, -up, back], axis=1)
    screen = (camera[:, :, :2] / extent * 0.5 + 0.5) * size
    found = rasterize(screen, size, size)
    depth = lerp(camera[:, :, 2:], found.face, found.weights)[:, 0]
    order = np.argsort(depth)
    nearest = np.full(size * size, -1)
    nearest[found.texel[order]] = order
    pixel = np.flatnonzero(nearest >= 0)
    face, weights = found.face[nearest[pixel]], found.weights[nearest[pixel]]
    normal = normalize(subject.normal(face, weights))
    light = normalize((back + 0.6 * up - 0.6 * right)[None])[0]
    image = np.full((size * size, 3), 0.05)
    image[pixel] = subject.albedo(face, weights) * (0.15 + 0.85 * np.maximum(normal @ light, 0))[:, None]
    return to_srgb(image.reshape(size, size, 3))


def lerp(corner_values: np.ndarray, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return values (F, 3, K) of corners at places of faces."""
    at = corner_values[face]
    return at[:, 0] + (at[:, 1] - at[:, 0]) * weights[:, :1] + (at[:, 2] - at[:, 0]) * weights[:, 1:]


def bilinear(image: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """Return float (N, C) of `image` (H, W, C) at `uvs` (N, 2), V pointing down; beyond the edges the edge."""
    height, width = image.shape[:2]
    x, y = uvs[:, 0] * width - 0.5, uvs[:, 1] * height - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    out = 0.0
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (dx * (x - left) + (1 - dx) * (1 - x + left)) * (dy * (y - top) + (1 - dy) * (1 - y + top))
            taken = image[np.clip(top + dy, 0, height - 1), np.clip(left + dx, 0, width - 1)]
            out = out + weight[:, None] * taken
    return out


def textured(positions: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray, images: dict) -> Subject:
    """Return a smooth-shaded mesh with baked textures: `corner_uvs` (F, 3, 2), `images` as `bake` returns them."""
    normals = vertex_normals(positions, faces)[faces]
    color = LINEAR_OF_BYTE[images["base_color"]]

    def albedo(face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return bilinear(color, lerp(corner_uvs, face, weights))

    if "normal" not in images:
        return Subject(positions[faces], albedo, lambda face, weights: lerp(normals, face, weights))
    tangents, signs = corner_tangents(positions, faces, normals, corner_uvs * (1, -1) + (0, 1))
    relief = images["normal"] / 255.0 * 2 - 1

    def normal(face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        smooth, tangent = lerp(normals, face, weights), lerp(tangents, face, weights)
        bitangent = signs[face, :1] * cross(smooth, tangent)
        local = bilinear(relief, lerp(corner_uvs, face, weights))
        return local[:, :1] * tangent + local[:, 1:2] * bitangent + local[:, 2:] * smooth

    return Subject(positions[faces], albedo, normal)


def psnr(left: np.ndarray, right: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB of values of 0 to 1."""
    error = float(np.mean((left - right) ** 2))
    return 99.0 if error == 0 else -10 * np.log10(error)


def facing(subject: Subject) -> np.ndarray:
    """Return the mean angle in degrees between the shading and the geometric normals, for a quick look."""
    side = subject.corners
    flat = normalize(cross(side[:, 1] - side[:, 0], side[:, 2] - side[:, 0]))
    middle = np.full((len(flat), 2), 1 / 3)
    shading = normalize(subject.normal(np.arange(len(flat)), middle))
    return np.degrees(np.arccos(np.clip(dot(flat, shading), -1, 1)))
