# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the subject: by alpha, else by rembg where it is installed, else by a plain background."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import EspalierError
from . import removal
from .backdrop import cut_from_backdrop
from .choices import ALPHA, BACKDROP, MODEL
from .read import reduce_to

LARGEST_CUT = 2048
"""Pixels on the longest side of a picture that is cut from its background here."""
_OUTSIDE_SHARE = 1e-3


def has_outline(alpha: npt.NDArray[np.uint8]) -> bool:
    """Tell whether `alpha` uint8 (H, W) shows a subject: whether more than a stray pixel lies outside it."""
    return int((alpha < 128).sum()) > max(1, alpha.size * _OUTSIDE_SHARE)


def cut_out(
    image: Image.Image, path: str, progress: Callable[[float], None] = lambda _: None, model: str = ""
) -> Image.Image:
    """Return RGBA `image` with everything but its subject transparent; `path` names it in errors.

    An image with a meaningful alpha is returned as it is. `progress` is told the fraction done and may raise.
    `model` names the one of `removal.MODELS` that the engine wants.

    Raises EspalierError `image_transparent`, `image_no_subject` or `background_busy`.
    """
    return find_subject(image, path, progress, model)[0]


def find_subject(
    image: Image.Image,
    path: str,
    progress: Callable[[float], None] = lambda _: None,
    model: str = "",
    models: bool = True,
) -> tuple[Image.Image, str]:
    """Return what `cut_out` does, and how the subject was found. Without `models`, none is asked. Raises as it does."""
    alpha = np.asarray(image.getchannel("A"))
    if not (alpha > 127).any():
        raise EspalierError("image_transparent", path=path)
    if has_outline(alpha):
        return image, ALPHA
    progress(0.1)
    opaque = reduce_to(image, LARGEST_CUT).convert("RGB")
    mask = removal.subject_mask(opaque, model) if models else None
    if mask is not None:
        progress(0.9)
        cut = opaque.convert("RGBA")
        cut.putalpha(mask)
        if not (np.asarray(mask) > 127).any():
            raise EspalierError("image_no_subject", path=path)
        return cut, MODEL
    return cut_from_backdrop(opaque, path, progress), BACKDROP
