# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the test images beside this file: `python -m tests.data.render [NAME ...]`, a few minutes for all.

All of them are of the project's own making, from shapes that are known exactly.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from . import scenes
from .tracer import Array, Scene, encode, render, to_srgb

FOLDER = Path(__file__).resolve().parent
SIZE = 1024


def cutout(scene: Callable[[], Scene]) -> Callable[[int], Image.Image]:
    """Return a maker of RGBA images of `scene`."""
    return lambda size: Image.fromarray(encode(render(scene(), size)))


def on_backdrop(size: int) -> Image.Image:
    """Return the duck as photographed: on a pale backdrop that falls off to the corners, with a soft shadow."""
    subject = placed(scenes.duck(), size)
    y, x = np.mgrid[:size, :size] / size * 2 - 1
    light = 1.0 - 0.07 * (x * x + y * y) - 0.03 * y
    backdrop = light[..., None] * np.array([0.52, 0.62, 0.68])
    # The shadow of a round body on the floor, seen from low: a wide ellipse, darkest below the middle.
    pool = np.hypot((x - 0.06) / 0.62, (y - 0.62) / 0.15)
    backdrop *= 1.0 - 0.42 * np.exp(-(pool**2) * 1.1)[..., None]
    return _photograph(subject, backdrop, np.random.default_rng(3), 0.0025)


def on_clutter(size: int) -> Image.Image:
    """Return the duck among a clutter of coloured discs, from which no rule of thumb can tell it."""
    subject = placed(scenes.duck(), size)
    random = np.random.default_rng(11)
    y, x = np.mgrid[:size, :size] / size * 2 - 1
    backdrop = np.full((size, size, 3), 0.2)
    for _ in range(420):
        cx, cy = random.uniform(-1.1, 1.1, 2)
        radius, turn = random.uniform(0.03, 0.2), random.uniform(0, np.pi)
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        inside = np.hypot(u, v * random.uniform(1, 2.5)) < radius
        backdrop[inside] = random.uniform(0.02, 0.8, 3) * (0.75 + 0.25 * (u[inside] / radius))[:, None]
    for channel in range(3):
        backdrop[..., channel] = ndimage.gaussian_filter(backdrop[..., channel], size / 700)
    return _photograph(subject, backdrop, random, 0.01)


def placed(scene: Scene, size: int) -> Array:
    """Return `scene` as linear RGBA, smaller and lower in the picture than a cut-out."""
    inner = render(scene, round(size * 0.8))
    whole = np.zeros((size, size, 4))
    top, left = round(size * 0.14), round(size * 0.1)
    whole[top : top + len(inner), left : left + len(inner)] = inner
    return whole


def _photograph(subject: Array, backdrop: Array, random: np.random.Generator, noise: float) -> Image.Image:
    linear = subject[..., :3] + (1 - subject[..., 3:]) * backdrop
    shown = to_srgb(linear) + random.normal(0, noise, linear.shape)
    return Image.fromarray(np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8))


IMAGES: dict[str, tuple[Callable[[int], Image.Image], int]] = {
    "rocket.png": (cutout(scenes.rocket), SIZE),
    "mushroom.webp": (cutout(scenes.mushroom), SIZE),
    "mug.png": (cutout(scenes.mug), SIZE),
    "ball.png": (cutout(scenes.ball), SIZE),
    "duck.jpg": (on_backdrop, SIZE),
    "clutter.jpg": (on_clutter, SIZE // 2),
}
"""File name -> what makes it at a size, and the size that is kept."""


def save(image: Image.Image, path: Path) -> None:
    """Write `image` as the kind of file that `path` names, at once."""
    options = {
        ".png": {"format": "PNG", "optimize": True},
        ".webp": {"format": "WEBP", "quality": 92, "alpha_quality": 100, "method": 6},
        ".jpg": {"format": "JPEG", "quality": 90, "optimize": True},
    }[path.suffix]
    file = io.BytesIO()
    image.save(file, **options)
    path.write_bytes(file.getvalue())


def pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return `image` as RGBA uint8 (H, W, 4)."""
    return np.asarray(image.convert("RGBA"))


if __name__ == "__main__":
    for name in sys.argv[1:] or IMAGES:
        make, size = IMAGES[name]
        save(make(size), FOLDER / name)
        print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB", flush=True)
