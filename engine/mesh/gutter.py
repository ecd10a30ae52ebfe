# SPDX-License-Identifier: GPL-3.0-or-later
"""Filling what lies between the charts of a texture, so that no filter brings background in at a seam.

Near a chart each texel repeats the nearest texel of a chart, which keeps both what bilinear filtering reads and the
means of smaller mip levels those of the chart. Far from all charts the fill runs smoothly from one to the next
(push-pull, Gortler et al., "The Lumigraph", 1996), which compresses well.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

REACH = 24
"""Texels around a chart that repeat it: bilinear filtering at mip level 3 reads at most 12 texels outside."""
BLOCK = 16
"""Texels on a side of the blocks from whose means the far fill is made."""


class Gutter:
    """The fill for one layout of charts, worked out once for all textures that share it.

    `covered` bool (H, W) tells which texels have a value.
    """

    def __init__(self, covered: npt.NDArray[np.bool_]) -> None:
        self.shape = covered.shape
        self._covered = covered
        self._open: npt.NDArray[np.int64] = np.flatnonzero(~covered.reshape(-1))
        self._empty = not covered.any()
        if self._empty or not len(self._open):
            self._near = np.empty(0, dtype=np.int64)
            self._far = np.empty(0, dtype=np.int64)
            return
        rows, columns = distance_transform_edt(~covered, return_distances=False, return_indices=True)
        width = covered.shape[1]
        rows, columns = rows.reshape(-1)[self._open], columns.reshape(-1)[self._open]
        away = (rows - self._open // width) ** 2 + (columns - self._open % width) ** 2
        self._near = rows.astype(np.int64) * width + columns
        self._far = self._open[away > REACH * REACH]

    def fill(self, image: npt.NDArray[np.uint8]) -> None:
        """Fill `image` uint8 (H, W) or (H, W, C) in place. Without any covered texel it stays as it is."""
        if self._empty or not len(self._open):
            return
        flat = image.reshape(self._covered.size, -1)
        flat[self._open] = flat[self._near]
        if len(self._far):
            flat[self._far] = self._smooth(image.reshape(*self.shape, -1))

    def _smooth(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the push-pull fill, uint8, at the far texels."""
        height, width, channels = image.shape
        tall, wide = -(-height // BLOCK), -(-width // BLOCK)
        sums = np.zeros((tall, wide, channels + 1), dtype=np.float32)
        for row in range(tall):  # a strip at a time: the whole image as float would be large
            strip = image[row * BLOCK : (row + 1) * BLOCK]
            mask = self._covered[row * BLOCK : (row + 1) * BLOCK]
            columns = np.empty((width, channels + 1), dtype=np.float32)
            columns[:, :channels] = (strip * mask[..., None]).sum(axis=0, dtype=np.uint16)
            columns[:, channels] = mask.sum(axis=0, dtype=np.uint16)
            sums[row] = np.add.reduceat(columns, np.arange(0, width, BLOCK), axis=0)
        smooth = push_pull(sums[..., :channels] / np.maximum(sums[..., channels:], 1.0), sums[..., channels] > 0)
        y = np.clip((self._far // width + 0.5) / BLOCK - 0.5, 0, tall - 1)
        x = np.clip((self._far % width + 0.5) / BLOCK - 0.5, 0, wide - 1)
        top, left = y.astype(np.int64), x.astype(np.int64)
        bottom, right = np.minimum(top + 1, tall - 1), np.minimum(left + 1, wide - 1)
        down, across = (y - top).astype(np.float32)[:, None], (x - left).astype(np.float32)[:, None]
        above = smooth[top, left] * (1 - across) + smooth[top, right] * across
        below = smooth[bottom, left] * (1 - across) + smooth[bottom, right] * across
        filled: npt.NDArray[np.uint8] = np.clip(above * (1 - down) + below * down + 0.5, 0, 255).astype(np.uint8)
        return filled


def push_pull(values: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return `values` float32 (H, W, C) with those that are not `known` (H, W) filled from ever coarser means."""
    if known.all() or not known.any():
        return values
    weight = known.astype(np.float32)
    padded = np.pad(values * weight[..., None], [(0, values.shape[0] % 2), (0, values.shape[1] % 2), (0, 0)])
    weights = np.pad(weight, [(0, values.shape[0] % 2), (0, values.shape[1] % 2)])
    total = padded[0::2, 0::2] + padded[1::2, 0::2] + padded[0::2, 1::2] + padded[1::2, 1::2]
    count = weights[0::2, 0::2] + weights[1::2, 0::2] + weights[0::2, 1::2] + weights[1::2, 1::2]
    coarse = push_pull(total / np.maximum(count, 1.0)[..., None], count > 0)
    fine = _doubled(_doubled(coarse).swapaxes(0, 1)).swapaxes(0, 1)[: values.shape[0], : values.shape[1]]
    return np.where(known[..., None], values, fine)


def _doubled(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return `image` with twice the rows, interpolated linearly."""
    out = np.empty((2 * image.shape[0], *image.shape[1:]), dtype=np.float32)
    before, after = np.concatenate([image[:1], image[:-1]]), np.concatenate([image[1:], image[-1:]])
    out[0::2] = 0.75 * image + 0.25 * before
    out[1::2] = 0.75 * image + 0.25 * after
    return out
