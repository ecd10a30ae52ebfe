# SPDX-License-Identifier: GPL-3.0-or-later
"""The textures: the picture on the front, mirrored on the back, and constants for metal and roughness."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ...imaging.bleed import bleed, trust
from ...imaging.framing import Frame
from ...mesh.glb import Texture
from .charts import Charts

ROUGHNESS = 0.6
METALLIC = 0.0

_COMPRESSION = 1
_SOLID = 217
_TRANSLUCENT_SHARE = 0.01

Bytes = npt.NDArray[np.uint8]


def translucent(image: Image.Image) -> bool:
    """Tell whether the subject of RGBA `image` can be seen through: whether its inside, not only its edge, is."""
    alpha = np.asarray(image.getchannel("A"))
    if alpha.min() > _SOLID:
        return False
    inner = ndimage.binary_erosion(alpha > 127, np.ones((3, 3), bool), iterations=4)
    count = int(inner.sum())
    return bool(count) and float((alpha[inner] < _SOLID).sum()) > _TRANSLUCENT_SHARE * count


def base_color(image: Image.Image, frame: Frame, charts: Charts, blend: bool, check: Callable[[], None]) -> Texture:
    """Return the base colour of RGBA `image`, whose square `frame` the charts show, as a PNG of RGB or RGBA.

    Colours reach outward from the subject's edge over the gutters. `blend` keeps the subject's own transparency.
    `check` is called between the steps and may raise.
    """
    half = _front(image, frame, charts, blend, check)
    check()
    back = half.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    whole = Image.new(half.mode, (charts.size, charts.size))
    whole.paste(half, (0, 0))
    whole.paste(back, (half.width, 0) if charts.beside else (0, half.height))
    check()
    return Texture(encode(whole), "image/png", wrap="clamp")


def _front(image: Image.Image, frame: Frame, charts: Charts, blend: bool, check: Callable[[], None]) -> Image.Image:
    """Return the texture's front half."""
    texel = frame.side / charts.scale
    width, height = charts.half
    # The content with its gutters, in whole texels about the half's middle, no larger than the half.
    columns = min(width, 2 * math.ceil(charts.width * charts.scale / 2 + charts.gutter))
    rows = min(height, 2 * math.ceil(charts.height * charts.scale / 2 + charts.gutter))
    x, y = frame.x + charts.x * frame.side, frame.y - charts.y * frame.side
    left, top = x - columns / 2 * texel, y - rows / 2 * texel
    right, bottom = x + columns / 2 * texel, y + rows / 2 * texel
    # Three more pixels feed the resampling at the border.
    corner = math.floor(left) - 3, math.floor(top) - 3
    part = image.crop((*corner, math.ceil(right) + 3, math.ceil(bottom) + 3))
    check()
    pixels = np.asarray(part)
    weight = trust(np.ascontiguousarray(pixels[..., 3]))
    check()
    filled = bleed(pixels[..., : 4 if blend else 3].astype(np.float32), weight)
    check()
    opaque = Image.fromarray(np.rint(np.clip(filled, 0, 255)).astype(np.uint8))
    box = (left - corner[0], top - corner[1], right - corner[0], bottom - corner[1])
    content = opaque.resize((columns, rows), Image.Resampling.LANCZOS, box=box)
    before, above = (width - columns) // 2, (height - rows) // 2
    borders = ((above, height - rows - above), (before, width - columns - before), (0, 0))
    return Image.fromarray(np.pad(np.asarray(content), borders, mode="edge"))


@lru_cache(maxsize=4)
def metallic_roughness(size: int) -> Texture:
    """Return the constants as a PNG `size` texels wide: no occlusion in red, roughness in green, metallic in blue."""
    color = (255, round(255 * ROUGHNESS), round(255 * METALLIC))
    return Texture(encode(Image.new("RGB", (size, size), color), 9), "image/png", wrap="clamp")


def encode(image: Image.Image, compression: int = _COMPRESSION) -> bytes:
    """Return `image` as a PNG; little compression, as it is several times faster and hardly larger."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=compression)
    return file.getvalue()
