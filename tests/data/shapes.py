# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed distances (N,) of simple bodies to points (N, 3), and their unions. Angles are radians."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def sphere(p: Array, centre: tuple[float, float, float], radius: float) -> Array:
    return np.linalg.norm(p - np.array(centre), axis=1) - radius


def ellipsoid(p: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """An estimate of first order, exact on the surface."""
    q = (p - np.array(centre)) / np.array(radii)
    k = np.linalg.norm(q, axis=1)
    slope = np.linalg.norm(q / np.array(radii), axis=1)
    return k * (k - 1.0) / np.maximum(slope, 1e-9)


def capsule(p: Array, a: tuple[float, float, float], b: tuple[float, float, float], ra: float, rb: float) -> Array:
    """A rod from `a` to `b` whose radius goes from `ra` to `rb`."""
    start, way = np.array(a), np.array(b) - np.array(a)
    t = np.clip((p - start) @ way / (way @ way), 0.0, 1.0)
    return np.linalg.norm(p - start - t[:, None] * way, axis=1) - (ra + (rb - ra) * t)


def torus(p: Array, centre: tuple[float, float, float], axis: int, ring: float, tube: float) -> Array:
    q = p - np.array(centre)
    flat = np.delete(q, axis, axis=1)
    return np.hypot(np.linalg.norm(flat, axis=1) - ring, q[:, axis]) - tube


def box(p: Array, centre: tuple[float, float, float], half: tuple[float, float, float], rounding: float) -> Array:
    q = np.abs(p - np.array(centre)) - np.array(half) + rounding
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0) - rounding


def tube(p: Array, y: float, half: float, radius: float, rounding: float) -> Array:
    """An upright round rod with rounded edges."""
    q = np.stack([np.hypot(p[:, 0], p[:, 2]) - radius + rounding, np.abs(p[:, 1] - y) - half + rounding], axis=1)
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0) - rounding


def turned(p: Array, heights: list[float], radii: list[float]) -> Array:
    """A body turned on a lathe, from its radii at some heights; a smooth curve through them (Catmull and Rom)."""
    y = np.clip(p[:, 1], heights[0], heights[-1])
    radius = _curve(y, np.array(heights), np.array(radii))
    side = np.hypot(p[:, 0], p[:, 2]) - radius
    ends = np.abs(p[:, 1] - y)
    return np.where(ends > 0, np.hypot(np.maximum(side, 0), ends), side)


def _curve(y: Array, heights: Array, radii: Array) -> Array:
    slope = np.gradient(radii, heights)
    i = np.clip(np.searchsorted(heights, y, side="right") - 1, 0, len(heights) - 2)
    width = heights[i + 1] - heights[i]
    t = (y - heights[i]) / width
    return (
        (2 * t**3 - 3 * t**2 + 1) * radii[i]
        + (t**3 - 2 * t**2 + t) * width * slope[i]
        + (3 * t**2 - 2 * t**3) * radii[i + 1]
        + (t**3 - t**2) * width * slope[i + 1]
    )


def spin(p: Array, angle: float, axis: int = 1) -> Array:
    """Turn the points about an axis, the body the other way."""
    c, s = np.cos(angle), np.sin(angle)
    a, b = [k for k in range(3) if k != axis]
    q = p.copy()
    q[:, a], q[:, b] = c * p[:, a] - s * p[:, b], s * p[:, a] + c * p[:, b]
    return q


def blend(a: Array, b: Array, width: float) -> Array:
    """The union of two, with a fillet about `width` wide."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0.0, 1.0)
    return b + (a - b) * h - width * h * (1.0 - h)


def carve(a: Array, b: Array, width: float) -> Array:
    """`a` without `b`, the edge rounded."""
    return -blend(-a, b, width)
