# SPDX-License-Identifier: GPL-3.0-or-later
"""What an embedded texture holds: its size, whether it is whole, and whether anything in it can be seen through."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image

from .model import SUFFIXES, Texture

SIDE_LIMIT = 16384
"""Most pixels on a side of a texture: what graphics cards can hold."""


@dataclass(frozen=True, slots=True)
class TextureFacts:
    """Width and height in pixels, and the smallest alpha, 255 for an image without any."""

    width: int
    height: int
    lowest_alpha: int


def inspect_texture(texture: Texture) -> TextureFacts:
    """Decode `texture` once and return what it holds.

    Raises ValueError with a reason where it is damaged or larger than `SIDE_LIMIT`.
    """
    kind = SUFFIXES[texture.mime].strip(".").replace("jpg", "jpeg").upper()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(texture.data), formats=[kind]) as image:
                width, height = image.size
                if max(width, height) > SIDE_LIMIT:
                    raise ValueError(f"it has {width} x {height} pixels")
                image.load()
                return TextureFacts(width, height, _lowest_alpha(image))
    except Image.DecompressionBombError:
        raise ValueError("it has too many pixels") from None
    except (OSError, SyntaxError, EOFError, IndexError, OverflowError) as error:  # what Pillow raises for broken files
        raise ValueError("it is damaged") from error


def _lowest_alpha(image: Image.Image) -> int:
    if not image.has_transparency_data:
        return 255
    alpha = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
    lowest, _ = alpha.getchannel("A").getextrema()
    return int(lowest)  # type: ignore[arg-type]
