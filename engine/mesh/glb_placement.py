# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the textures of a GLB's material lie: on which UV map each, and moved how (KHR_texture_transform)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .glb_container import Object, Reading

TRANSFORM = "KHR_texture_transform"
_SLOTS = {
    "base_color": "baseColorTexture",
    "metallic_roughness": "metallicRoughnessTexture",
    "normal": "normalTexture",
    "emissive": "emissiveTexture",
}
_OF_SURFACE = ("base_color", "metallic_roughness")
_GLOSSY = "KHR_materials_pbrSpecularGlossiness"


@dataclass(frozen=True, slots=True)
class Placement:
    """UV map number `uv_map`, scaled, then rotated by `rotation` radians, then moved."""

    uv_map: int = 0
    offset: tuple[float, ...] = (0.0, 0.0)
    rotation: float = 0.0
    scale: tuple[float, ...] = (1.0, 1.0)

    def applied(self, uvs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return `uvs` float32 (V, 2), V pointing down, as the texture is to be read at; the same array if as given."""
        if (self.offset, self.rotation, self.scale) == ((0.0, 0.0), 0.0, (1.0, 1.0)):
            return uvs
        cosine, sine = math.cos(self.rotation), math.sin(self.rotation)
        # Turned against the clock as seen in the image's frame, whose V points down.
        turn = np.array([[cosine, sine], [-sine, cosine]]) * self.scale
        with np.errstate(over="ignore", invalid="ignore"):
            moved = (uvs @ turn.T + self.offset).astype(np.float32)
        return np.nan_to_num(moved, nan=0.0, posinf=0.0, neginf=0.0)


def uv_map_of(slot: Object, default: int = 0) -> int:
    """Return the number of the UV map that `slot` names, -1 for none (Blender 5.2, for a mesh without UVs)."""
    number = slot.get("texCoord", default)
    return int(number) if isinstance(number, (int, float)) and number >= 0 and number % 1 == 0 else -1


def surface_of(reading: Reading, source: Object) -> Object:
    """Return what a material has for `pbrMetallicRoughness`.

    Where it only has the specular-glossiness model of old, that is its diffuse color as a dielectric.
    """
    surface = reading.member(source, "pbrMetallicRoughness")
    glossy = reading.member(reading.member(source, "extensions"), _GLOSSY)
    if not glossy or "baseColorTexture" in surface or "baseColorFactor" in surface:
        return surface
    made: Object = {"metallicFactor": 0.0, "roughnessFactor": 1.0 - reading.number(glossy, "glossinessFactor", 1.0)}
    for key, role in (("diffuseFactor", "baseColorFactor"), ("diffuseTexture", "baseColorTexture")):
        if key in glossy:
            made[role] = glossy[key]
    return made


def placements(reading: Reading, index: int) -> dict[str, Placement]:
    """Return the placement of each texture that material `index` has, by role, but for occlusion."""
    found: dict[str, Placement] = {}
    source = reading.entry("materials", index)
    for role, key in _SLOTS.items():
        slot = reading.member(surface_of(reading, source) if role in _OF_SURFACE else source, key)
        if slot:
            found[role] = _placement(reading, slot)
    return found


def _placement(reading: Reading, slot: Object) -> Placement:
    transform = reading.member(reading.member(slot, "extensions"), TRANSFORM)
    return Placement(
        uv_map_of(transform, uv_map_of(slot)),
        reading.numbers(transform, "offset", (0.0, 0.0)),
        reading.number(transform, "rotation", 0.0),
        reading.numbers(transform, "scale", (1.0, 1.0)),
    )
