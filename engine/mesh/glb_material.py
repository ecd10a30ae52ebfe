# SPDX-License-Identifier: GPL-3.0-or-later
"""The material of a GLB (glTF 2.0, section 3.9) and its embedded textures, checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

from .glb_accessors import read_view
from .glb_container import Object, Reading
from .glb_placement import surface_of, uv_map_of
from .model import AlphaMode, Material, Texture, Wrap, sniff_mime

_WRAP: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
_FILTERS = (9728, 9729, 9984, 9985, 9986, 9987)
_NEAREST = 9728


Refuse = Callable[[str], None]
"""Told what cannot be shown here: the name of an extension, or one of the two sentences below."""
OTHER_UVS = "a texture on a second UV map"
ONE_WAY = "a texture that repeats in one direction only"


def read_material(reading: Reading, index: int, refuse: Refuse | None = None) -> Material:
    """Return material `index`.

    Extensions that change the look (all of KHR_materials) are unsupported, those of vendors are passed over. With
    `refuse`, what would be unsupported is told to it, and left out where it returns.
    """
    refuse = refuse or reading.unsupported
    source = reading.entry("materials", index)
    surface = reading.member(source, "pbrMetallicRoughness")
    for owner in (source, surface):
        for name in reading.member(owner, "extensions"):
            if name.startswith("KHR_"):
                refuse(name)
    surface = surface_of(reading, source)
    normal = reading.member(source, "normalTexture")
    occlusion = reading.member(source, "occlusionTexture")
    mode = reading.text(source, "alphaMode", "OPAQUE")
    if mode not in ("OPAQUE", "MASK", "BLEND"):
        reading.invalid(f"alphaMode cannot be {mode[:20]!r}")
    base = reading.numbers(surface, "baseColorFactor", (1.0, 1.0, 1.0, 1.0), 0.0, 1.0)
    emissive = reading.numbers(source, "emissiveFactor", (0.0, 0.0, 0.0), 0.0, 1.0)
    return Material(
        name=reading.text(source, "name", "Material"),
        base_color_factor=cast("tuple[float, float, float, float]", base),
        metallic_factor=reading.number(surface, "metallicFactor", 1.0, 0.0, 1.0),
        roughness_factor=reading.number(surface, "roughnessFactor", 1.0, 0.0, 1.0),
        emissive_factor=cast("tuple[float, float, float]", emissive),
        base_color=_texture(reading, reading.member(surface, "baseColorTexture"), refuse),
        metallic_roughness=_texture(reading, reading.member(surface, "metallicRoughnessTexture"), refuse),
        normal=_texture(reading, normal, refuse),
        normal_scale=reading.number(normal, "scale", 1.0),
        occlusion=_texture(reading, occlusion, refuse),
        occlusion_strength=reading.number(occlusion, "strength", 1.0, 0.0, 1.0),
        emissive=_texture(reading, reading.member(source, "emissiveTexture"), refuse),
        alpha_mode=cast("AlphaMode", mode),
        alpha_cutoff=reading.number(source, "alphaCutoff", 0.5, 0.0, math.inf),
        double_sided=reading.boolean(source, "doubleSided"),
    )


def _texture(reading: Reading, slot: Object, refuse: Refuse) -> Texture | None:
    """Return the texture that a material's `slot` names, None for an empty slot."""
    if not slot:
        return None
    for name in reading.member(slot, "extensions"):
        if name.startswith("KHR_"):
            refuse(name)
    if uv_map_of(slot) != 0:
        refuse(OTHER_UVS)
    texture = reading.entry("textures", reading.integer(slot, "index"))
    extensions = reading.member(texture, "extensions")
    if "EXT_texture_webp" in extensions:
        source = reading.integer(reading.member(extensions, "EXT_texture_webp"), "source")
    elif "source" in texture:
        source = reading.integer(texture, "source")
    else:
        reading.unsupported(next(iter(extensions), "a texture without an image"))
    wrap, nearest = _sampler(reading, texture, refuse)
    return _image(reading, source, wrap, nearest)


def _sampler(reading: Reading, texture: Object, refuse: Refuse) -> tuple[Wrap, bool]:
    if "sampler" not in texture:
        return "repeat", False
    sampler = reading.entry("samplers", reading.integer(texture, "sampler"))
    across, down = (reading.integer(sampler, key, 10497) for key in ("wrapS", "wrapT"))
    magnify, minify = (reading.integer(sampler, key, 9729) for key in ("magFilter", "minFilter"))
    if across not in _WRAP or down not in _WRAP or magnify not in _FILTERS[:2] or minify not in _FILTERS:
        reading.invalid("a sampler has an unknown filter or wrap")
    if across != down:
        refuse(ONE_WAY)
        across = down if _WRAP[across] == "clamp" else across
    return _WRAP[across], magnify == _NEAREST


def _image(reading: Reading, index: int, wrap: Wrap, nearest: bool) -> Texture:
    image = reading.entry("images", index)
    if index not in reading.images:
        if "bufferView" not in image:
            reading.unsupported("a texture outside of the file")
        view, stride = read_view(reading, reading.integer(image, "bufferView"))
        if stride:
            reading.invalid("an image has a stride")
        reading.images[index] = bytes(view)
    data = reading.images[index]
    # The bytes decide: some exporters name the wrong type.
    mime = sniff_mime(data)
    if mime is None:
        reading.unsupported("an image that is not PNG, JPEG or WebP")
    return Texture(data, mime, wrap, nearest)
