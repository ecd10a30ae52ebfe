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
    "base_color": ("pbrMetallicRoughness", "baseColorTexture"),
    "metallic_roughness": ("pbrMetallicRoughness", "metallicRoughnessTexture"),
    "normal": ("normalTexture",),
    "emissive": ("emissiveTexture",),
}


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


def placements(reading: Reading, index: int) -> dict[str, Placement]:
    """Return the placement of each texture that material `index` has, by role, but for occlusion."""
    found: dict[str, Placement] = {}
    for role, keys in _SLOTS.items():
        slot = reading.entry("materials", index)
        for key in keys:
            slot = reading.member(slot, key)
        if slot:
            found[role] = _placement(reading, slot)
    return found


def _placement(reading: Reading, slot: Object) -> Placement:
    uv_map = reading.integer(slot, "texCoord", 0)
    transform = reading.member(reading.member(slot, "extensions"), TRANSFORM)
    return Placement(
        reading.integer(transform, "texCoord", uv_map),
        reading.numbers(transform, "offset", (0.0, 0.0)),
        reading.number(transform, "rotation", 0.0),
        reading.numbers(transform, "scale", (1.0, 1.0)),
    )
