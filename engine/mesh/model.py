# SPDX-License-Identifier: GPL-3.0-or-later
"""What a textured asset is made of, as glTF has it: one triangle mesh and one metallic-roughness material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = "memoryview[int]"
Mime = Literal["image/png", "image/jpeg", "image/webp"]
Wrap = Literal["repeat", "clamp", "mirror"]
AlphaMode = Literal["OPAQUE", "MASK", "BLEND"]


@dataclass(slots=True, eq=False)
class Mesh:
    """Triangles in glTF's frame (right-handed, Y up, metres), counter-clockwise from outside.

    `positions` float32 (V, 3), `faces` uint32 (F, 3), `normals` float32 (V, 3) of unit length or None, `uvs` float32
    (V, 2) or None, V pointing down from the image's top.
    """

    positions: npt.NDArray[np.float32]
    faces: npt.NDArray[np.uint32]
    normals: npt.NDArray[np.float32] | None = None
    uvs: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Texture:
    """An encoded image and how it continues beyond its edges; `nearest` shows its texels as squares."""

    data: bytes
    mime: Mime
    wrap: Wrap = "repeat"
    nearest: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """A metallic-roughness material; the fields are glTF's, factors linear, and each texture multiplies its factor.

    `metallic_roughness` has roughness in green and metallic in blue; `occlusion` is in red.
    """

    name: str = "Material"
    base_color_factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    metallic_factor: float = 1.0
    roughness_factor: float = 1.0
    emissive_factor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    base_color: Texture | None = None
    metallic_roughness: Texture | None = None
    normal: Texture | None = None
    normal_scale: float = 1.0
    occlusion: Texture | None = None
    occlusion_strength: float = 1.0
    emissive: Texture | None = None
    alpha_mode: AlphaMode = "OPAQUE"
    alpha_cutoff: float = 0.5
    double_sided: bool = False

    def textures(self) -> dict[str, Texture]:
        """Return the textures that are there, by the name of their field."""
        found = {role: getattr(self, role) for role in TEXTURE_ROLES}
        return {role: texture for role, texture in found.items() if texture is not None}


TEXTURE_ROLES = ("base_color", "metallic_roughness", "normal", "occlusion", "emissive")
"""The fields of Material that hold a texture."""

SIGNATURES: dict[Mime, tuple[bytes, ...]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/webp": (b"RIFF",),
}
SUFFIXES: dict[Mime, str] = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
"""The ending of a file that holds such an image."""


def sniff_mime(data: bytes) -> Mime | None:
    """Return what kind of image `data` is by its first bytes, or None where it is none that glTF may embed."""
    for mime, signatures in SIGNATURES.items():
        if data.startswith(signatures) and (mime != "image/webp" or data[8:12] == b"WEBP"):
            return mime
    return None
