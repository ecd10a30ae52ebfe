# SPDX-License-Identifier: GPL-3.0-or-later
"""Baked images become the textures and factors of a material."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..progress import Run
from .bake import Baked
from .model import AlphaMode, Material, Texture
from .parallel import for_each

Format = Literal["png", "webp"]
COLOR_QUALITY = 95
"""Quality of colors in WebP, of 100. What is not a color is stored without loss: its channels mean different things."""
SOLID = 250
"""Alpha from which on a texel counts as opaque."""


def material_of(
    baked: Baked, source: Material, name: str, form: Format, double_sided: bool, run: Run | None
) -> Material:
    """Return the material that shows `baked`, encoded as `form`; channels of one value become factors.

    The alpha mode is OPAQUE where every texel is, else that of `source`.
    """
    images = baked.images
    covered = baked.covered
    mode = _alpha_mode(images, covered, source)
    pictures: dict[str, npt.NDArray[np.uint8]] = {"base_color": images["base_color"]}
    if mode != "OPAQUE":
        pictures["base_color"] = np.dstack([images["base_color"], images["alpha"]])
    metallic, roughness = _constant(images["metallic"], covered), _constant(images["roughness"], covered)
    if metallic is None or roughness is None:
        empty = np.full_like(images["metallic"], 255)
        pictures["metallic_roughness"] = np.dstack([empty, images["roughness"], images["metallic"]])
        metallic = roughness = 1.0
    if "normal" in images:
        pictures["normal"] = images["normal"]
    if "emissive" in images and images["emissive"][covered].any():
        pictures["emissive"] = images["emissive"]
    textures: dict[str, Texture] = {}

    def work(role: str) -> None:
        textures[role] = encode(pictures[role], form, lossy=role in ("base_color", "emissive"))

    for_each(list(pictures), work, run)
    return Material(
        name=name,
        metallic_factor=metallic,
        roughness_factor=roughness,
        emissive_factor=(1.0, 1.0, 1.0) if "emissive" in pictures else (0.0, 0.0, 0.0),
        base_color=textures["base_color"],
        metallic_roughness=textures.get("metallic_roughness"),
        normal=textures.get("normal"),
        emissive=textures.get("emissive"),
        alpha_mode=mode,
        alpha_cutoff=0.5,
        double_sided=double_sided,
    )


def encode(image: npt.NDArray[np.uint8], form: Format, lossy: bool = False) -> Texture:
    """Return `image` uint8 (H, W, 3 or 4) as a texture that ends at its edges."""
    stream = io.BytesIO()
    picture = Image.fromarray(image)
    if form == "png":
        picture.save(stream, "PNG", compress_level=1)
        return Texture(stream.getvalue(), "image/png", "clamp")
    if lossy:
        picture.save(stream, "WEBP", quality=COLOR_QUALITY, method=2)
    else:
        picture.save(stream, "WEBP", lossless=True, quality=10, method=0)
    return Texture(stream.getvalue(), "image/webp", "clamp")


def _alpha_mode(
    images: dict[str, npt.NDArray[np.uint8]], covered: npt.NDArray[np.bool_], source: Material
) -> AlphaMode:
    if source.alpha_mode == "OPAQUE" or "alpha" not in images or not (images["alpha"][covered] < SOLID).any():
        return "OPAQUE"
    return source.alpha_mode


def _constant(image: npt.NDArray[np.uint8], covered: npt.NDArray[np.bool_]) -> float | None:
    """Return the value, 0 to 1, of all covered texels of `image`, or None where they differ."""
    values = image[covered]
    if not len(values):
        return float(image.flat[0]) / 255
    low, high = int(values.min()), int(values.max())
    return low / 255 if low == high else None
