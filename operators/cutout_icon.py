# SPDX-License-Identifier: GPL-3.0-or-later
"""The one preview picture that the panel shows, in memory: no file of Blender's thumbnail cache, no data-block."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import bpy.utils.previews

_collection: Any = None
_count = 0


def show(file: Path, side: int) -> int:
    """Return the icon of the picture in `file`: side x side RGBA pixels of uint8, the lowest row first.

    The one before it is given up. Raises OSError or ValueError for a file that is not such a picture.
    """
    global _collection, _count
    data = file.read_bytes()
    if len(data) != side * side * 4:
        raise ValueError(f"{len(data)} bytes are no picture of {side} pixels")
    if _collection is None:
        _collection = bpy.utils.previews.new()
    _collection.clear()
    # Under a name of its own: Blender keeps what it has drawn of an icon.
    _count += 1
    picture = _collection.new(f"cutout {_count}")
    picture.image_size = (side, side)
    picture.image_pixels.foreach_set(array("i", data))
    return picture.icon_id


def close() -> None:
    """Give the picture up."""
    global _collection
    if _collection is not None:
        bpy.utils.previews.remove(_collection)
        _collection = None
