# SPDX-License-Identifier: GPL-3.0-or-later
"""Between sRGB (IEC 61966-2-1), in which colors are stored, and linear light, in which they may be averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def to_linear(encoded: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return linear light for sRGB values of 0 to 1."""
    value = np.clip(np.asarray(encoded, dtype=np.float64), 0.0, 1.0)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return sRGB values of 0 to 1 for linear light."""
    value = np.clip(np.asarray(linear, dtype=np.float64), 0.0, 1.0)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


LINEAR_OF_BYTE = to_linear(np.arange(256) / 255.0).astype(np.float32)
"""Linear light, float32, for each sRGB byte."""
_BYTE_OF_LINEAR = np.round(to_srgb(np.arange(65536) / 65535.0) * 255.0).astype(np.uint8)


def srgb_bytes(linear: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return sRGB bytes for linear light; not a number becomes 0."""
    encoded: npt.NDArray[np.uint8] = _BYTE_OF_LINEAR[_scaled(linear, 65535.0).astype(np.uint16)]
    return encoded


def linear_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return bytes for values of 0 to 1 that are stored as they are; not a number becomes 0."""
    return np.asarray(_scaled(values, 255.0).astype(np.uint8))


def _scaled(values: npt.NDArray[Any], top: float) -> npt.NDArray[Any]:
    scaled: npt.NDArray[Any] = np.nan_to_num(np.clip(values, 0.0, 1.0), copy=False)
    scaled *= top
    scaled += 0.5
    return scaled
