# SPDX-License-Identifier: GPL-3.0-or-later
"""Framing the subject as TRELLIS does: a square about its centre, as wide as its longest side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SOLID = 204
"""Alpha above this belongs to the subject when it is framed: 0.8 of 255, as in TRELLIS's `preprocess_image`."""
VISIBLE = 127
"""Alpha above this lies inside the outline."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A square part of an image: its centre and side in pixels, from the image's upper left corner."""

    x: float
    y: float
    side: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in pixels."""
        half = self.side / 2.0
        return self.x - half, self.y - half, self.x + half, self.y + half


def subject_frame(alpha: npt.NDArray[np.uint8], solid: int = SOLID) -> Frame | None:
    """Return the square that holds the subject of `alpha` uint8 (H, W), or None where nothing is visible.

    It is centred on the bounding box of all pixels above `solid` (or above one half where none is so solid), and its
    side is the longer side of that box, counted from pixel edge to pixel edge.
    """
    for threshold in (solid, VISIBLE):
        inside = alpha > threshold
        columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
        if len(columns):
            left, right = float(columns[0]), float(columns[-1] + 1)
            top, bottom = float(rows[0]), float(rows[-1] + 1)
            return Frame((left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top))
    return None


def picture_frame(size: tuple[int, int]) -> Frame:
    """Return the square about the middle of a picture of `size` (width, height) that holds all of it."""
    return Frame(size[0] / 2, size[1] / 2, float(max(size)))


def crop(image: Image.Image, frame: Frame, margin: float = 0.0) -> tuple[Image.Image, Frame]:
    """Return the pixels of `image` within `frame`, and `frame` in their coordinates.

    The square reaches `margin` (a fraction of the side) beyond the frame, rounded outward to whole pixels. What lies
    outside the image is transparent black.
    """
    half = math.ceil(frame.side * (0.5 + margin) + 1)
    left, top = math.floor(frame.x) - half, math.floor(frame.y) - half
    part = image.crop((left, top, left + 2 * half + 1, top + 2 * half + 1))
    return part, Frame(frame.x - left, frame.y - top, frame.side)


def on_black(image: Image.Image) -> Image.Image:
    """Return RGBA `image` as RGB over black, its colours multiplied by alpha: what TRELLIS shows to its model."""
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, image).convert("RGB")
