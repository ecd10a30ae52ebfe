# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of an asset: loaded undecoded, packed, and interpreted as their role in the material asks."""

from __future__ import annotations

import bpy

from .arrays import PreparedFolder
from .rollback import Rollback

LABELS = {
    "base_color": "Base Color",
    "metallic_roughness": "Metallic Roughness",
    "normal": "Normal",
    "occlusion": "Occlusion",
    "emissive": "Emission",
}
"""Role of a texture -> what it is called beside the asset's name, and on its node."""
_COLORS = ("base_color", "emissive")


def load_images(prepared: PreparedFolder, rollback: Rollback) -> dict[str, bpy.types.Image]:
    """Return the packed images by role; roles that share a file share an image. None is decoded yet.

    Raises RuntimeError or OSError where a file cannot be read.
    """
    images: dict[str, bpy.types.Image] = {}
    by_file: dict[tuple[str, bool], bpy.types.Image] = {}
    for role, entry in prepared.description["images"].items():
        file, is_color = entry["file"], role in _COLORS
        if (file, is_color) not in by_file:
            by_file[file, is_color] = _load_image(prepared, role, file, rollback)
        images[role] = by_file[file, is_color]
    return images


def _load_image(prepared: PreparedFolder, role: str, file: str, rollback: Rollback) -> bpy.types.Image:
    path = prepared.folder / file
    if path.parent != prepared.folder or not path.is_file():
        raise FileNotFoundError(path)
    image = bpy.data.images.load(str(path), check_existing=False)
    rollback.add(image)
    image.name = _name(prepared.name, LABELS[role])
    image.pack()
    # The library's folder may be cleared; unpacking writes beside the .blend.
    image.filepath_raw = f"//textures/{bpy.path.clean_name(image.name)}{path.suffix}"
    image.packed_files[0].filepath = image.filepath_raw
    transparent = role == "base_color" and prepared.description["material"]["transparent"]
    image.colorspace_settings.name = "sRGB" if role in _COLORS else "Non-Color"
    # An opaque material takes the colors as they are, also where an alpha channel says zero.
    image.alpha_mode = "STRAIGHT" if transparent else "CHANNEL_PACKED"
    return image


def _name(asset: str, label: str, limit: int = 63) -> str:
    """Return a name of at most `limit` bytes (Blender's, before 5.0), the asset's part shortened."""
    room = limit - len(label.encode()) - 1
    return f"{asset.encode()[:room].decode(errors='ignore')} {label}"
