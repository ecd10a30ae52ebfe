# SPDX-License-Identifier: GPL-3.0-or-later
"""A small renderer of signed distance fields: sphere tracing, soft shadows, occlusion, a studio to be mirrored.

Points are float64 (N, 3), Y up, the camera looking along -Z from above; the picture is orthographic and shows 2 by 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_FAR = 4.2
_HIT = 1e-4
_KEY = np.array([-0.45, 0.75, 0.6]) / np.linalg.norm([-0.45, 0.75, 0.6])
_SAMPLES = 4
_CHUNK = 16_000


@dataclass(frozen=True)
class Scene:
    """What is seen: `distance` (N, 3) -> (N,), at most the true distance over `slack`, and `surface` (N, 3) -> albedo
    (N, 3, linear), gloss (N,) and metal (N,). `elevation` is the camera's, in degrees."""

    distance: Callable[[Array], Array]
    surface: Callable[[Array], tuple[Array, Array, Array]]
    elevation: float = 12.0
    slack: float = 1.0


@dataclass(frozen=True)
class Camera:
    """The axes of the camera: `right`, `up` and `toward` the viewer."""

    right: Array
    up: Array
    toward: Array


def camera(elevation: float) -> Camera:
    """Return the camera `elevation` degrees above the horizon."""
    e = np.radians(elevation)
    return Camera(
        np.array([1.0, 0.0, 0.0]), np.array([0.0, np.cos(e), -np.sin(e)]), np.array([0.0, np.sin(e), np.cos(e)])
    )


def render(scene: Scene, size: int) -> Array:
    """Return the picture as linear RGBA float64 (size, size, 4), premultiplied, anti-aliased where it changes."""
    centres = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    x, y = np.meshgrid(centres, -centres)
    image = _shoot(scene, x.ravel(), y.ravel()).reshape(size, size, 4)
    shown = np.concatenate([np.sqrt(np.clip(image[..., :3], 0, 1)), image[..., 3:]], axis=2)
    busy = np.zeros((size, size), bool)
    for axis in (0, 1):
        change = np.abs(np.diff(shown, axis=axis)).max(axis=2) > 0.04
        before, after = (change, np.s_[:-1]), (change, np.s_[1:])
        for mark, part in (before, after):
            busy[(part, slice(None)) if axis == 0 else (slice(None), part)] |= mark
    row, column = np.nonzero(busy)
    total = np.zeros((len(row), 4))
    for i in range(_SAMPLES):
        for j in range(_SAMPLES):
            dx, dy = ((k + 0.5) / _SAMPLES - 0.5 for k in (i, j))
            px, py = x[row, column] + dx * 2 / size, y[row, column] + dy * 2 / size
            total += _shoot(scene, px, py)
    image[row, column] = total / _SAMPLES**2
    return image


def _shoot(scene: Scene, x: Array, y: Array) -> Array:
    """Return linear RGBA (N, 4) of the points `x`, `y` of the picture."""
    result = np.zeros((len(x), 4))
    view = camera(scene.elevation)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        origin = x[part, None] * view.right + y[part, None] * view.up + 2.5 * view.toward
        depth = _march(scene, origin, -view.toward)
        hit = np.flatnonzero(depth < _FAR)
        if len(hit):
            point = origin[hit] - depth[hit, None] * view.toward
            result[start + hit, :3] = _shade(scene, point, view.toward)
            result[start + hit, 3] = 1.0
    return result


def _march(scene: Scene, origin: Array, direction: Array) -> Array:
    """Return how far each ray goes before it meets a surface; infinite where it does not."""
    depth = np.zeros(len(origin))
    active = np.arange(len(origin))
    for _ in range(220):
        gap = scene.distance(origin[active] + depth[active, None] * direction)
        depth[active] += gap * scene.slack
        active = active[(np.abs(gap) > _HIT) & (depth[active] < _FAR)]
        if not len(active):
            break
    depth[active] = np.inf  # they graze a surface for ever
    return np.where(depth < _FAR, depth, np.inf)


def _normal(scene: Scene, point: Array) -> Array:
    step = 7e-4
    total = np.zeros_like(point)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        offset = np.array(corner, float)
        total += offset * scene.distance(point + step * offset)[:, None]
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def _shadow(scene: Scene, point: Array, normal: Array) -> Array:
    """Return how much of the key light arrives, 0 to 1: the narrowest passage of each ray, relative to its way."""
    light, depth = np.ones(len(point)), np.full(len(point), 0.02)
    start = point + normal * 0.006
    active = np.flatnonzero(normal @ _KEY > 0)
    for _ in range(40):
        gap = scene.distance(start[active] + depth[active, None] * _KEY)
        light[active] = np.minimum(light[active], np.clip(0.5 + 0.5 * gap / (0.11 * depth[active]), 0, 1))
        depth[active] += np.clip(gap, 0.012, 0.12)
        active = active[(light[active] > 0) & (depth[active] < 1.6)]
        if not len(active):
            break
    return light * light * (3 - 2 * light)


def _occlusion(scene: Scene, point: Array, normal: Array) -> Array:
    covered = np.zeros(len(point))
    for step, weight in ((0.02, 1.0), (0.06, 0.7), (0.13, 0.45), (0.25, 0.3)):
        covered += weight * np.clip(step - scene.distance(point + normal * step), 0, None) / step
    return np.clip(1.0 - 0.42 * covered, 0.12, 1.0)


def _studio(direction: Array) -> Array:
    """Return what is seen of the studio in a mirror: a bright dome, a large lamp to the left, a strip to the right."""
    x, y, z = direction.T
    dome = 0.18 + 0.42 * np.clip(y * 0.6 + 0.4, 0, 1)
    lamp = _box(x / np.maximum(z, 0.05) + 0.75, 0.42, 0.1) * _box(y / np.maximum(z, 0.05) - 0.95, 0.5, 0.1) * (z > 0.05)
    strip = _box(x - 0.86, 0.07, 0.05) * _box(y - 0.1, 0.6, 0.2)
    return (dome + 4.2 * lamp + 0.8 * strip)[:, None] * np.array([1.0, 0.99, 0.97])


def _box(value: Array, half: float, soft: float) -> Array:
    t = np.clip((half + soft - np.abs(value)) / (2 * soft), 0, 1)
    return t * t * (3 - 2 * t)


def _shade(scene: Scene, point: Array, toward: Array) -> Array:
    """Return the light (N, 3) that leaves each point towards the viewer."""
    normal = _normal(scene, point)
    albedo, gloss, metal = scene.surface(point)
    shadow = _shadow(scene, point, normal)
    open_sky = _occlusion(scene, point, normal)
    key = np.clip(normal @ _KEY, 0, None) * shadow
    sky = 0.5 + 0.5 * normal[:, 1]
    fill = np.clip(normal @ np.array([0.8, 0.1, 0.6]), 0, None)
    ground = np.array([0.34, 0.29, 0.25])
    ambient = open_sky[:, None] * (sky[:, None] * np.array([0.42, 0.47, 0.54]) + (1 - sky)[:, None] * ground)
    light = ambient + 1.9 * key[:, None] * np.array([1.0, 0.95, 0.87]) + 0.16 * (fill * open_sky)[:, None]
    facing = np.clip(normal @ toward, 0, 1)
    mirrored = 2 * (normal @ toward)[:, None] * normal - toward
    base = 0.04 * (1 - metal)[:, None] + metal[:, None] * albedo
    fresnel = base + (1 - base) * ((1 - facing) ** 5)[:, None] * 0.6
    shine = _studio(mirrored) * fresnel * (gloss * (0.35 + 0.65 * open_sky))[:, None]
    return albedo * light * (1 - metal)[:, None] * 0.62 + shine


def encode(linear: Array) -> npt.NDArray[np.uint8]:
    """Return linear RGBA, premultiplied, as sRGB uint8 with straight alpha and a soft shoulder."""
    alpha = linear[..., 3:]
    color = np.where(alpha > 0, linear[..., :3] / np.maximum(alpha, 1e-9), 0.0)
    return np.rint(255 * np.concatenate([to_srgb(color), alpha], axis=2)).astype(np.uint8)


def to_srgb(color: Array) -> Array:
    """Return linear light as sRGB, 0 to 1; what is brighter than 0.7 bends towards 1."""
    bright = np.maximum(color - 0.7, 0.0)
    soft = np.where(color > 0.7, 0.7 + 0.3 * bright / (bright + 0.3), np.maximum(color, 0.0))
    return np.where(soft <= 0.0031308, 12.92 * soft, 1.055 * soft ** (1 / 2.4) - 0.055)
