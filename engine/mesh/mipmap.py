# SPDX-License-Identifier: GPL-3.0-or-later
"""A texture and its smaller levels, averaged in linear light, sampled trilinearly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .color import LINEAR_OF_BYTE
from .model import Wrap

STRIP = 1 << 22
"""Pixels that are averaged at a time."""
UNCOVERED = np.float32(1e-3)
"""Weight of a pixel that no face of the mesh uses, against 1 for one that a face does."""
_DEEP_OF_BYTE = np.round(LINEAR_OF_BYTE.astype(np.float64) * 65535).astype(np.uint16)


class MipMap:
    """An RGBA image and the levels that are needed of its averages.

    `image` uint8 (H, W, 4), or a Pillow image in mode RGBA or RGB, whose RGB is sRGB if `srgb`, else linear like its A.
    `first` to `last` are the levels that will be asked for, level n being 2**n times smaller than the image: those
    before are not kept. `covered` bool (h, w), of any size, tells which parts the mesh uses, so that averages leave out
    the background; it weighs from the level of its own size on.
    """

    def __init__(
        self,
        image: npt.NDArray[np.uint8] | Image.Image,
        *,
        srgb: bool,
        wrap: Wrap = "repeat",
        nearest: bool = False,
        first: int = 0,
        last: int = 0,
        covered: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.srgb, self.wrap, self.nearest = srgb, wrap, nearest
        self.first, self.last = first, max(first, last)
        self.levels: list[npt.NDArray[Any]] = []
        level: npt.NDArray[Any] | Image.Image = image
        weight: npt.NDArray[np.float32] | None = None
        for number in range(self.last + 1):
            if number >= self.first:
                level = _strip(level, 0, _shape(level)[0])
                self.levels.append(np.ascontiguousarray(level))
            if number < self.last:
                if covered is not None and weight is None and _shape(level) == covered.shape:
                    weight = np.where(covered, np.float32(1), UNCOVERED)
                level, weight = self._halved(level, weight)

    def _halved(
        self, image: npt.NDArray[Any] | Image.Image, weight: npt.NDArray[np.float32] | None
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float32] | None]:
        """Return the next level, uint16 in linear light, and the mean weights."""
        height, width = _shape(image)
        tall, wide = (height + 1) // 2, (width + 1) // 2
        out = np.empty((tall, wide, 4), dtype=np.uint16)
        lighter = None if weight is None else np.empty((tall, wide), dtype=np.float32)
        rows = max(1, STRIP // max(width, 1) // 2)
        for top in range(0, tall, rows):
            bottom = min(top + rows, tall)
            part = _strip(image, 2 * top, min(2 * bottom, height))
            part = self._deep(part)
            odd = [(0, part.shape[0] % 2), (0, part.shape[1] % 2)]
            if any(after for _, after in odd):
                part = np.pad(part, [*odd, (0, 0)], mode="edge")
            quads = [part[y::2, x::2] for y in (0, 1) for x in (0, 1)]
            if weight is None or lighter is None:
                total = np.full(quads[0].shape, 2, dtype=np.uint32)
                for quad in quads:
                    total += quad
                out[top:bottom] = total >> 2
                continue
            share = np.pad(weight[2 * top : 2 * bottom], odd, mode="edge")
            shares = [share[y::2, x::2] for y in (0, 1) for x in (0, 1)]
            sums = np.zeros(quads[0].shape, dtype=np.float32)
            for quad, by in zip(quads, shares, strict=True):
                sums += quad * by[..., None]
            whole = shares[0] + shares[1] + shares[2] + shares[3]
            out[top:bottom] = sums / whole[..., None] + np.float32(0.5)
            lighter[top:bottom] = whole / 4
        return out, lighter

    def _deep(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        if pixels.dtype == np.uint16:
            return pixels
        if not self.srgb:
            return pixels.astype(np.uint16) * np.uint16(257)
        deep = np.empty(pixels.shape, dtype=np.uint16)
        deep[..., :3] = _DEEP_OF_BYTE[pixels[..., :3]]
        deep[..., 3] = pixels[..., 3] * np.uint16(257)
        return deep

    def sample(self, uvs: npt.NDArray[Any], level: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return float32 (N, 4) in linear light at `uvs` (N, 2), V pointing down, from fractional `level` (N,)."""
        level = np.clip(level, self.first, self.last)
        whole = np.minimum(level.astype(np.int32), self.last)
        part = (level - whole).astype(np.float32)
        out = np.empty((len(uvs), 4), dtype=np.float32)
        for number in range(self.first, self.last + 1):
            at = np.flatnonzero(whole == number)
            if len(at) == len(uvs):
                out = self._bilinear(number, uvs)
            elif len(at):
                out[at] = self._bilinear(number, uvs[at])
            mixed = at[part[at] > 0]
            if len(mixed):
                share = part[mixed, None]
                out[mixed] += (self._bilinear(number + 1, uvs[mixed]) - out[mixed]) * share
        return out

    def _bilinear(self, number: int, uvs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        image = self.levels[number - self.first]
        height, width = image.shape[:2]
        place = np.nan_to_num(np.asarray(uvs, dtype=np.float64), posinf=0.0, neginf=0.0)
        if self.wrap == "repeat":
            place = place - np.floor(place)
        elif self.wrap == "mirror":
            place = 1.0 - np.abs(place % 2.0 - 1.0)
        else:
            place = np.clip(place, 0.0, 1.0)
        x, y = place[:, 0] * width - 0.5, place[:, 1] * height - 0.5
        if self.nearest:
            return self._pixels(image, np.round(x).astype(np.int64), np.round(y).astype(np.int64))
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        across, down = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
        above = self._pixels(image, left, top)
        above += (self._pixels(image, left + 1, top) - above) * across
        below = self._pixels(image, left, top + 1)
        below += (self._pixels(image, left + 1, top + 1) - below) * across
        below -= above
        below *= down
        above += below
        return above

    def _pixels(
        self, image: npt.NDArray[Any], x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return float32 (N, 4) in linear light of pixels at most one beyond the edges."""
        height, width = image.shape[:2]
        if self.wrap == "repeat":
            x = np.where(x < 0, x + width, np.where(x >= width, x - width, x))
            y = np.where(y < 0, y + height, np.where(y >= height, y - height, y))
        else:
            x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
        words = image.view(np.uint32 if image.dtype == np.uint8 else np.uint64).reshape(-1)
        pixels = words[y * width + x].view(image.dtype).reshape(-1, 4)
        if image.dtype == np.uint16:
            return np.asarray(pixels * np.float32(1 / 65535))
        if not self.srgb:
            return np.asarray(pixels * np.float32(1 / 255))
        out: npt.NDArray[np.float32] = LINEAR_OF_BYTE[pixels]
        out[:, 3] = pixels[:, 3] * np.float32(1 / 255)
        return out


def _shape(image: npt.NDArray[Any] | Image.Image) -> tuple[int, int]:
    if isinstance(image, Image.Image):
        return image.size[1], image.size[0]
    return image.shape[0], image.shape[1]


def _strip(image: npt.NDArray[Any] | Image.Image, top: int, bottom: int) -> npt.NDArray[Any]:
    if isinstance(image, Image.Image):
        part = image.crop((0, top, image.size[0], bottom))
        return np.asarray(part if part.mode == "RGBA" else part.convert("RGBA"))
    return image[top:bottom]
