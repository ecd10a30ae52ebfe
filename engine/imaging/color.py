# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours: embedded profiles to sRGB, and sRGB to a space in which distances look alike."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Floats = npt.NDArray[np.float32]

_SPACES = {"RGB ": ("RGB", "RGBA", "RGBX", "P", "PA"), "GRAY": ("L", "LA", "1"), "CMYK": ("CMYK",)}
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


def to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Return `image`, of any mode with eight bits a channel, as RGBA in sRGB.

    `profile` is the bytes of its ICC profile or None; one that is broken or of another colour space is not used.
    """
    if image.mode == "LAB":
        image = _transform(image, ImageCms.createProfile("LAB"), "LAB")
    if not isinstance(profile, bytes) or not profile:
        return _rgba(image)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space
        if image.mode not in _SPACES.get(space, ()) or "srgb" in ImageCms.getProfileName(source).lower():
            return _rgba(image)
        if space == "RGB ":
            rgba = _rgba(image)
            converted = _transform(rgba.convert("RGB"), source, "RGB")
            converted.putalpha(rgba.getchannel("A"))
            return converted
        alpha = image.getchannel("A") if image.mode == "LA" else None
        plain = image.convert("L") if space == "GRAY" else image
        converted = _rgba(_transform(plain, source, plain.mode))
        if alpha is not None:
            converted.putalpha(alpha)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _rgba(image)
    return converted


def _rgba(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        return image.convert("LA").convert("RGBA")
    if image.mode in ("HSV", "YCbCr", "CMYK", "RGBX"):
        return image.convert("RGB").convert("RGBA")
    return image.convert("RGBA")


def _transform(image: Image.Image, source: Any, mode: str) -> Image.Image:
    result = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert result is not None, mode
    return result


def oklab(rgb: npt.NDArray[np.uint8]) -> Floats:
    """Return sRGB uint8 (..., 3) as Oklab float32 (..., 3): lightness 0 to 1, then the two axes of colour.

    Source: B. Ottosson, "A perceptual color space for image processing", 2020.
    """
    linear = _LINEAR[rgb]
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_OKLAB.T, np.float32)


def _linear_table() -> Floats:
    value = np.arange(256) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear_table()
