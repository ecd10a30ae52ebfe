# SPDX-License-Identifier: GPL-3.0-or-later
"""Background removal with rembg, in an environment that has it."""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from PIL import Image

MODEL = "isnet-general-use"

_log = logging.getLogger(__name__)


def available() -> bool:
    """Tell whether rembg can be imported; imports nothing."""
    return find_spec("rembg") is not None


def subject_mask(image: Image.Image) -> Image.Image | None:
    """Return the subject's mask (mode L, of the size of RGB `image`), or None where rembg is missing or fails."""
    if not available():
        return None
    try:
        mask = import_module("rembg").remove(image, session=_session(), only_mask=True)
    except Exception:
        # Whatever goes wrong in there (a model that is not on the disk, say), the plain-background rule remains.
        _log.exception("rembg failed")
        return None
    return mask.convert("L").resize(image.size) if isinstance(mask, Image.Image) else None


@lru_cache(maxsize=1)
def _session() -> Any:
    return import_module("rembg").new_session(MODEL)
