# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting the subject from a plain backdrop: its colour from the picture's border, a flood, and a soft edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ..errors import EspalierError
from .bleed import extend
from .color import oklab

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# Distances are of Oklab, where the just noticeable difference is about 0.02 and black to white is 1.
_LEAST_TOLERANCE, _MOST_TOLERANCE = 0.035, 0.09
_MOST_NOISE = 0.035
_CHROMA_WEIGHT = 2.0
_PLAIN_SHARE = 0.6
_DARKEST_SHADOW = 0.5
_SHADOW_HUE = 0.025
_SHADOW_SLOPE = 0.012
_SMALLEST_SHARE = 1e-3
_SMALLEST_PART = 5e-3
_SQUARE = np.ones((3, 3), bool)


@dataclass(frozen=True, slots=True)
class Backdrop:
    """The backdrop of a picture: `color` float32 (H, W, 3) in Oklab, and `noise`, its usual distance from that."""

    color: Floats
    noise: float


def cut_from_backdrop(image: Image.Image, path: str, progress: Callable[[float], None] = lambda _: None) -> Image.Image:
    """Return RGB `image` as RGBA, its backdrop transparent, with soft edges freed from the backdrop's colour.

    What has the backdrop's colour but is enclosed by the subject stays. A soft shadow goes with the backdrop.
    Raises EspalierError `background_busy` or `image_no_subject`; `progress` is told the fraction done and may raise.
    """
    rgb = np.asarray(image.convert("RGB"))
    lab = oklab(rgb)
    progress(0.3)
    backdrop = estimate(lab)
    if backdrop is None:
        raise EspalierError("background_busy", path=path)
    progress(0.4)
    flooded = _flood(lab, backdrop)
    progress(0.5)
    ring = _ring(flooded.shape)
    if flooded[ring].mean() < _PLAIN_SHARE / 1.5:
        raise EspalierError("background_busy", path=path)
    subject = _large_parts(~flooded)
    if subject.sum() < _SMALLEST_SHARE * subject.size or not ndimage.binary_erosion(subject, _SQUARE, 2).any():
        raise EspalierError("image_no_subject", path=path)
    progress(0.6)
    return _matte(rgb, subject, progress)


def _ring(shape: tuple[int, ...]) -> Bools:
    """Return the pixels along the border of a picture of `shape`."""
    width = max(2, round(0.015 * min(shape)))
    ring = np.ones(shape, bool)
    ring[width:-width, width:-width] = False
    return ring


def estimate(lab: Floats) -> Backdrop | None:
    """Return the backdrop of `lab` (H, W, 3), or None where the border does not show a plain one.

    Each channel is a quadratic of the position, which follows a vignette or a falling light, fitted to the border by
    iteratively reweighted least squares with Tukey's weights, so that a subject which touches it has no say.
    """
    height, width = lab.shape[:2]
    row, column = np.nonzero(_ring((height, width)))
    pick = slice(None, None, max(1, len(row) // 6000))
    row, column = row[pick], column[pick]
    y, x = 2.0 * row / height - 1.0, 2.0 * column / width - 1.0
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    samples = lab[row, column].astype(np.float64)
    residual = np.linalg.norm(samples - np.median(samples, axis=0), axis=1)
    factors = np.zeros((6, 3))
    scale = 1.0
    for _ in range(12):
        scale = max(1.5 * float(np.median(residual)), 0.004)
        weight = np.clip(1.0 - (residual / (4.7 * scale)) ** 2, 0.0, None) ** 2
        factors = np.linalg.lstsq(basis * weight[:, None] ** 0.5, samples * weight[:, None] ** 0.5, rcond=1e-9)[0]
        residual = np.linalg.norm(samples - basis @ factors, axis=1)
    plain = residual < max(3.0 * scale, _LEAST_TOLERANCE)
    if scale > _MOST_NOISE or plain.mean() < _PLAIN_SHARE:
        return None
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = 2 * y / height - 1, 2 * x / width - 1
    f = factors.astype(np.float32)
    color = f[0] + x[..., None] * f[1] + y[..., None] * f[2]
    color += (x * x)[..., None] * f[3] + (x * y)[..., None] * f[4] + (y * y)[..., None] * f[5]
    return Backdrop(color, float(np.sqrt(np.mean(residual[plain] ** 2))))


def _flood(lab: Floats, backdrop: Backdrop) -> Bools:
    """Return the pixels of the backdrop or of a soft shadow on it that can be reached from the border."""
    difference = lab - backdrop.color
    square = difference * difference
    distance = np.sqrt(square[..., 0] + _CHROMA_WEIGHT**2 * (square[..., 1] + square[..., 2]))
    tolerance = float(np.clip(5.0 * backdrop.noise, _LEAST_TOLERANCE, _MOST_TOLERANCE))
    plain = distance < tolerance
    passable = plain | _shadow(lab, backdrop)
    labels, _ = ndimage.label(passable)
    ring = _ring(plain.shape)
    reached = np.zeros(labels.max() + 1, bool)
    reached[np.unique(labels[ring & plain])] = True
    reached[0] = False
    return np.asarray(reached[labels])


def _shadow(lab: Floats, backdrop: Backdrop) -> Bools:
    """Return where the backdrop seems to be in soft shadow: darker, of the same hue, and without an edge.

    Less light scales all three coordinates of Oklab alike.
    """
    share = lab[..., 0] / np.maximum(backdrop.color[..., 0], 1e-3)
    hue = lab[..., 1:] - share[..., None] * backdrop.color[..., 1:]
    smooth = ndimage.gaussian_filter(lab[..., 0], 1.0)
    slope = np.hypot(*np.gradient(smooth))
    found = (share > _DARKEST_SHADOW) & (share < 1.05)
    found &= (np.abs(hue).max(axis=2) < _SHADOW_HUE + backdrop.noise) & (slope < _SHADOW_SLOPE)
    # A shadow is broad: what is left of edges must not let the flood into the subject.
    return np.asarray(ndimage.binary_opening(found, _SQUARE, iterations=2))


def _large_parts(mask: Bools) -> Bools:
    """Return `mask` without the parts that are small beside the largest."""
    labels, count = ndimage.label(ndimage.binary_opening(mask, _SQUARE) | ndimage.binary_erosion(mask), _SQUARE)
    if not count:
        return np.zeros_like(mask)
    size = np.bincount(labels.ravel())
    size[0] = 0
    keep = size >= max(16, _SMALLEST_PART * size.max())
    core = keep[labels]
    return np.asarray(mask & ndimage.binary_dilation(core, _SQUARE, iterations=3))


def _matte(rgb: npt.NDArray[np.uint8], subject: Bools, progress: Callable[[float], None]) -> Image.Image:
    """Return RGBA with alpha from where each edge pixel lies between the subject's colour and the backdrop's."""
    pixels = rgb.astype(np.float32)
    inner = ndimage.binary_erosion(subject, _SQUARE, iterations=3)
    outer = ~ndimage.binary_dilation(subject, _SQUARE, iterations=2)
    inner |= subject & ~ndimage.binary_dilation(inner, _SQUARE, iterations=5)
    front = extend(pixels, inner.astype(np.float32))
    progress(0.75)
    back = extend(pixels, outer.astype(np.float32))
    progress(0.9)
    band = ~inner & ~outer
    i, f, b = pixels[band], front[band], back[band]
    between = f - b
    length = np.einsum("ij,ij->i", between, between)
    share = np.einsum("ij,ij->i", i - b, between) / np.maximum(length, 1.0)
    # Where both have nearly one colour, the mask alone can tell.
    soft = ndimage.gaussian_filter(subject.astype(np.float32), 0.8)[band]
    clear = np.clip((length - 300.0) / 900.0, 0.0, 1.0)
    alpha = np.clip((share - 0.06) / 0.88, 0.0, 1.0) * clear + soft * (1.0 - clear)
    own = (i - (1.0 - alpha)[:, None] * b) / np.maximum(alpha, 0.25)[:, None]
    faint = np.clip((0.6 - alpha) / 0.4, 0.0, 1.0)[:, None]
    result = np.zeros((*rgb.shape[:2], 4), np.uint8)
    result[..., :3] = rgb
    result[inner, 3] = 255
    result[band, :3] = np.rint(np.clip(own * (1.0 - faint) + f * faint, 0, 255)).astype(np.uint8)
    result[band, 3] = np.rint(alpha * 255).astype(np.uint8)
    result[result[..., 3] == 0, :3] = 0
    return Image.fromarray(result)
