# SPDX-License-Identifier: GPL-3.0-or-later
"""Where front and back lie in the texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .outline import Floats

GUTTER_SHARE = 64
"""A gutter is this part of the texture wide: 32 texels of 2048, enough for five mip levels."""


@dataclass(frozen=True, slots=True)
class Charts:
    """The layout of a square texture, `size` texels wide: front and back in halves side by side, or one above another.

    `scale` is texels to a unit of the frame, and (`x`, `y`) the point of the frame, Y up, that lies in the middle of
    each half. `width` and `height` are the content's, in frame units; `gutter` is in texels.
    """

    size: int
    beside: bool
    scale: float
    x: float
    y: float
    width: float
    height: float
    gutter: int

    @property
    def half(self) -> tuple[int, int]:
        """Width and height of each half in texels."""
        return (self.size // 2, self.size) if self.beside else (self.size, self.size // 2)

    def uvs(self, plane: Floats) -> tuple[Floats, Floats]:
        """Return the texture coordinates (V, 2), V down, of points (V, 2) of the frame on the front and on the back."""
        width, height = self.half
        right = (plane[:, 0].astype(np.float64) - self.x) * self.scale
        down = (self.y - plane[:, 1].astype(np.float64)) * self.scale + height / 2
        front = np.column_stack([width / 2 + right, down]) / self.size
        # The back is seen from behind, so that it lies mirrored.
        shift = np.array([width, 0.0]) if self.beside else np.array([0.0, height])
        back = (np.column_stack([width / 2 - right, down]) + shift) / self.size
        return front.astype(np.float32), back.astype(np.float32)


def lay_out(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], size: int) -> Charts:
    """Return the layout that shows the content between `low` and `high` (x, y in frame units) the largest."""
    gutter = max(8, size // GUTTER_SHARE)
    width, height = (float(v) for v in np.maximum(high - low, 1e-6))
    beside = min((size / 2 - 2 * gutter) / width, (size - 2 * gutter) / height)
    stacked = min((size - 2 * gutter) / width, (size / 2 - 2 * gutter) / height)
    x, y = (float(v) for v in (low + high) / 2)
    return Charts(size, beside >= stacked, max(beside, stacked), x, y, width, height, gutter)
