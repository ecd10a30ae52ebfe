# SPDX-License-Identifier: GPL-3.0-or-later
"""What the test images show. The radius of the ball is known exactly; it is what a sphere is measured against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import shapes as s
from .tracer import Array, Scene

BALL_RADIUS = 0.9
"""Of 1, half the picture's width; the ball's centre is the picture's."""


def _linear(code: str) -> Array:
    value = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255.0
    return np.asarray(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


class _Paint:
    """The colours of points, laid on one over another."""

    def __init__(self, count: int, color: str, gloss: float = 0.6, metal: float = 0.0) -> None:
        self.albedo = np.tile(_linear(color), (count, 1))
        self.gloss = np.full(count, gloss)
        self.metal = np.full(count, metal)

    def lay(self, where: Array, color: str, gloss: float = 0.6, metal: float = 0.0) -> None:
        self.albedo[where], self.gloss[where], self.metal[where] = _linear(color), gloss, metal

    def result(self) -> tuple[Array, Array, Array]:
        return self.albedo, self.gloss, self.metal


def _nearest(p: Array, parts: dict[str, Callable[[Array], Array]]) -> Array:
    """Return the index of the part that each point lies on."""
    return np.argmin(np.abs(np.stack([part(p) for part in parts.values()])), axis=0)


def _union(parts: dict[str, Callable[[Array], Array]]) -> Callable[[Array], Array]:
    return lambda p: np.min(np.stack([part(p) for part in parts.values()]), axis=0)


def ball() -> Scene:
    """A beach ball: six stripes and a white cap."""
    tilt = -0.75

    def surface(p: Array) -> tuple[Array, Array, Array]:
        q = s.spin(s.spin(p, 0.3, axis=2), tilt, axis=0) / BALL_RADIUS
        sector = np.floor((np.arctan2(q[:, 0], q[:, 2]) / np.pi + 1.0) * 3.0 + 0.4).astype(int) % 6
        paint = _Paint(len(p), "f4efe6", 0.8)
        for index, color in ((0, "d8352f"), (2, "f2b01e"), (4, "1f74c4")):
            paint.lay(sector == index, color, 0.8)
        paint.lay(np.abs(q[:, 1]) > 0.965, "f4efe6", 0.8)
        return paint.result()

    return Scene(lambda p: s.sphere(p, (0, 0, 0), BALL_RADIUS), surface, elevation=0.0)


def rocket() -> Scene:
    """A toy rocket of painted wood, with a porthole and three fins."""
    heights = [-0.52, -0.42, -0.2, 0.1, 0.36, 0.58, 0.76, 0.88, 0.925]
    radii = [0.155, 0.205, 0.268, 0.292, 0.265, 0.2, 0.115, 0.042, 0.004]
    port = (0.0, 0.2, 0.272)

    def fin(p: Array) -> Array:
        # The three are alike: each point is turned to the one in whose third of the circle it lies.
        third = 2.0 * np.pi / 3.0
        angle = np.arctan2(p[:, 2], p[:, 0]) + np.radians(46.0)
        angle -= third * np.round(angle / third)
        radius = np.hypot(p[:, 0], p[:, 2])
        q = np.stack([radius * np.cos(angle), p[:, 1], radius * np.sin(angle)], axis=1)
        blade = s.capsule(q, (0.2, -0.25, 0), (0.46, -0.62, 0), 0.1, 0.075)
        blade = s.blend(blade, s.capsule(q, (0.46, -0.62, 0), (0.485, -0.84, 0), 0.075, 0.035), 0.06)
        blade = s.blend(blade, s.capsule(q, (0.2, -0.42, 0), (0.42, -0.62, 0), 0.09, 0.06), 0.08)
        return np.maximum(blade, np.abs(q[:, 2]) - 0.034) - 0.012

    parts: dict[str, Callable[[Array], Array]] = {
        "body": lambda p: s.turned(p, heights, radii),
        "fins": fin,
        "nozzle": lambda p: s.turned(p, [-0.7, -0.62, -0.52], [0.185, 0.15, 0.12]),
        "ring": lambda p: s.torus(p, port, 2, 0.135, 0.036),
        "glass": lambda p: s.ellipsoid(p, port, (0.125, 0.125, 0.05)),
        "belt": lambda p: s.torus(p, (0, -0.375, 0), 1, 0.222, 0.03),
    }

    def surface(p: Array) -> tuple[Array, Array, Array]:
        part, y = _nearest(p, parts), p[:, 1]
        paint = _Paint(len(p), "f3ead9", 0.75)
        paint.lay((part == 0) & (y > 0.555), "d4322c", 0.85)
        paint.lay((part == 0) & (y > 0.515) & (y < 0.545), "d4322c", 0.85)
        paint.lay((part == 0) & (y < -0.12) & (y > -0.2), "1d6f8f", 0.8)
        paint.lay((part == 0) & (y < -0.225) & (y > -0.25), "1d6f8f", 0.8)
        paint.lay(part == 1, "d4322c", 0.85)
        paint.lay(part == 2, "4a4f57", 0.7)
        paint.lay(part == 3, "e0a52e", 1.0, 0.85)
        paint.lay(part == 4, "123a5c", 1.6)
        paint.lay(part == 5, "e0a52e", 1.0, 0.85)
        return paint.result()

    return Scene(_union(parts), surface, elevation=10.0, slack=0.7)


def mushroom() -> Scene:
    """A fly agaric with its cap, dots, gills, ring and stem."""
    directions = []
    for k in range(34):
        y = 1.0 - (k + 0.4) / 34
        turn = k * 2.399963 + 0.5
        directions.append((np.sqrt(max(0.0, 1 - y * y)) * np.cos(turn), y, np.sqrt(max(0.0, 1 - y * y)) * np.sin(turn)))
    centre, radii = np.array([0.0, 0.12, 0.0]), np.array([0.82, 0.66, 0.82])

    def cap(p: Array) -> Array:
        dome = s.ellipsoid(p, (0.0, 0.12, 0.0), (0.82, 0.66, 0.82))
        under = s.ellipsoid(p, (0.0, -0.02, 0.0), (0.88, 0.2, 0.88))
        return s.carve(s.carve(dome, p[:, 1] - 0.06, 0.07), under, 0.05)

    spots = centre + np.array(directions) * radii * 0.955
    sizes = 0.066 + 0.04 * ((np.arange(len(spots)) * 7) % 5) / 4

    def dots(p: Array) -> Array:
        # Far from the cap its distance tells enough.
        gap = s.ellipsoid(p, (0.0, 0.12, 0.0), (0.82, 0.66, 0.82))
        result = np.abs(gap) - 0.15
        near = result < 0.05
        if near.any():
            away = np.linalg.norm(p[near][:, None] - spots, axis=2) - sizes
            result[near] = away.min(axis=1)
        return result

    def stem(p: Array) -> Array:
        rod = s.turned(p, [-0.86, -0.8, -0.62, -0.3, 0.0, 0.3], [0.2, 0.265, 0.25, 0.185, 0.16, 0.17])
        skirt = s.ellipsoid(p, (0.0, -0.16, 0.0), (0.29, 0.1, 0.29))
        skirt = s.carve(skirt, s.ellipsoid(p, (0.0, -0.25, 0.0), (0.3, 0.1, 0.3)), 0.02)
        return s.blend(rod, skirt, 0.03)

    parts: dict[str, Callable[[Array], Array]] = {"cap": cap, "dots": dots, "stem": stem}

    def surface(p: Array) -> tuple[Array, Array, Array]:
        part = _nearest(p, parts)
        paint = _Paint(len(p), "f3e8d2", 0.35)
        top = (part == 0) & (s.ellipsoid(p, (0.0, 0.12, 0.0), (0.82, 0.66, 0.82)) > -0.012) & (p[:, 1] > 0.062)
        paint.lay(top, "c8201c", 1.0)
        gills = (part == 0) & ~top
        angle = np.arctan2(p[:, 2], p[:, 0])
        paint.albedo[gills] *= (0.78 + 0.22 * np.cos(angle[gills] * 70.0))[:, None]
        paint.lay(part == 1, "f6efe0", 0.4)
        low = part == 2
        paint.albedo[low] *= (1.0 - 0.3 * np.clip((-0.45 - p[low, 1]) / 0.4, 0, 1))[:, None]
        return paint.result()

    return Scene(_union(parts), surface, elevation=6.0, slack=0.75)


def mug() -> Scene:
    """A glazed mug: its handle leaves a hole in the outline, and its rim shows the inside."""

    def body(p: Array) -> Array:
        outside = s.tube(p, -0.02, 0.66, 0.56, 0.09)
        inside = s.tube(p, 0.14, 0.7, 0.49, 0.1)
        return s.carve(outside, inside, 0.03)

    def handle(p: Array) -> Array:
        q = (p - np.array([0.6, -0.02, 0.0])) * np.array([1.0, 0.82, 1.0])
        ring = np.hypot(np.hypot(q[:, 0], q[:, 1]) - 0.28, q[:, 2] * 0.75) - 0.066
        return np.maximum(ring, 0.50 - np.hypot(p[:, 0], p[:, 2]))

    def distance(p: Array) -> Array:
        return s.blend(body(p + np.array([0.17, 0, 0])), handle(p + np.array([0.17, 0, 0])), 0.05)

    def surface(p: Array) -> tuple[Array, Array, Array]:
        q = p + np.array([0.17, 0, 0])
        y, turn = q[:, 1], np.arctan2(q[:, 0], q[:, 2])
        paint = _Paint(len(p), "2f6f73", 1.25)
        inner = (np.hypot(q[:, 0], q[:, 2]) < 0.515) & (y > -0.5)
        outer = ~inner & (np.hypot(q[:, 0], q[:, 2]) < 0.575)
        drip = 0.36 + 0.05 * np.sin(turn * 7.0) + 0.035 * np.sin(turn * 3.0 + 1.0)
        paint.lay(outer & (y < drip - 0.26), "e9dcc3", 0.9)
        wave = np.abs(y + 0.24 - 0.06 * np.sin(turn * 9.0)) < 0.035
        paint.lay(outer & wave, "c7633a", 0.9)
        paint.lay(outer & (np.abs(y + 0.42) < 0.016), "2f6f73", 0.9)
        paint.lay(outer & (y < -0.6), "9a7b5b", 0.25)
        paint.lay(inner, "f0e7d6", 1.1)
        return paint.result()

    return Scene(distance, surface, elevation=17.0, slack=0.75)


def duck() -> Scene:
    """A rubber duck, turned a little towards the viewer."""
    turn = -0.5

    def body(p: Array) -> Array:
        trunk = s.ellipsoid(p, (-0.04, -0.3, 0.0), (0.58, 0.36, 0.42))
        tail = s.capsule(p, (-0.4, -0.18, 0.0), (-0.66, 0.07, 0.0), 0.18, 0.045)
        chest = s.ellipsoid(p, (0.24, -0.2, 0.0), (0.32, 0.34, 0.33))
        neck = s.capsule(p, (0.24, -0.05, 0.0), (0.25, 0.25, 0.0), 0.23, 0.22)
        head = s.sphere(p, (0.27, 0.38, 0.0), 0.325)
        whole = s.blend(s.blend(trunk, tail, 0.16), chest, 0.14)
        return s.blend(s.blend(whole, neck, 0.1), head, 0.07)

    def wings(p: Array) -> Array:
        q = p.copy()
        q[:, 2] = np.abs(q[:, 2])
        return s.blend(
            s.ellipsoid(q, (-0.1, -0.22, 0.375), (0.3, 0.19, 0.1)),
            s.capsule(q, (-0.26, -0.16, 0.39), (-0.46, -0.05, 0.37), 0.09, 0.035),
            0.09,
        )

    def beak(p: Array) -> Array:
        upper = s.ellipsoid(p, (0.62, 0.345, 0.0), (0.18, 0.055, 0.15))
        lower = s.ellipsoid(p, (0.585, 0.275, 0.0), (0.135, 0.045, 0.115))
        return s.blend(upper, lower, 0.025)

    def eyes(p: Array) -> Array:
        q = p.copy()
        q[:, 2] = np.abs(q[:, 2])
        return s.sphere(q, (0.475, 0.475, 0.185), 0.075)

    raw: dict[str, Callable[[Array], Array]] = {"body": body, "wings": wings, "beak": beak, "eyes": eyes}

    def distance(p: Array) -> Array:
        q = s.spin(p + np.array([0.0, 0.06, 0.0]), turn)
        plump = s.blend(body(q), wings(q), 0.03)
        return np.minimum(np.minimum(plump, beak(q)), eyes(q))

    def surface(p: Array) -> tuple[Array, Array, Array]:
        q = s.spin(p + np.array([0.0, 0.06, 0.0]), turn)
        part = _nearest(q, raw)
        paint = _Paint(len(p), "f5c211", 0.9)
        paint.lay(part == 2, "e8641b", 0.9)
        paint.lay(part == 3, "16130f", 1.5)
        glint = np.linalg.norm(q - np.array([0.5, 0.515, 0.235]), axis=1) < 0.034
        paint.lay((part == 3) & glint, "ffffff", 1.0)
        return paint.result()

    return Scene(distance, surface, elevation=10.0, slack=0.75)
