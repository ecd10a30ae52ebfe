# SPDX-License-Identifier: GPL-3.0-or-later
"""From an image that Blender holds to a file that an engine can read; and the seed's dice."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from ..engine.errors import EspalierError
from ..engine.files import make_folder, replacing
from ..engine.parameters import BY_NAME

if TYPE_CHECKING:
    import numpy as np

READABLE = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})


def image_file(image: bpy.types.Image, scene: bpy.types.Scene, folder: Path) -> Path:
    """Return a file with the pixels of `image`: its own where that is current, else a copy inside `folder`.

    Copies are named by their content, so that the same picture is kept once. Raises EspalierError.
    """
    return reading(image, scene, folder)()


def reading(image: bpy.types.Image, scene: bpy.types.Scene, folder: Path) -> Callable[[], Path]:
    """Take from `image` what only Blender's main thread can; return what makes the file of `image_file` of it.

    That touches no bpy, and may be called in a thread. Both raise EspalierError.
    """
    if image.source in {"MOVIE", "TILED"}:
        raise EspalierError("image_not_saved", name=image.name)
    path = Path(bpy.path.abspath(image.filepath_raw, library=image.library)) if image.filepath_raw else None
    packed = image.packed_file
    if image.source == "FILE" and not image.is_dirty:
        if packed is not None and path is not None and path.suffix.lower() in READABLE:
            return partial(keep, bytes(packed.data), path.suffix.lower(), folder)
        if packed is None and path is not None and (path.suffix.lower() in READABLE or not path.exists()):
            return partial(Path, path)
    name = image.name
    try:
        if image.type in {"RENDER_RESULT", "COMPOSITING"} or image.is_float:
            return partial(keep, _rendered(image, scene), ".png", folder)
        pixels = _pixels(image)
    except (RuntimeError, OSError, ValueError) as error:
        raise EspalierError("image_not_saved", detail=str(error), name=name) from error
    return lambda: keep(_as_png(pixels), ".png", folder)


def _pixels(image: bpy.types.Image) -> np.ndarray:
    """Return `image` as float32 (H, W, C), the lowest row first."""
    # Not Image.save(): before 4.3 it marks the artist's unsaved painting as saved.
    import numpy as np

    width, height = image.size
    if not width or not height:
        raise ValueError("it has no pixels")
    pixels = np.empty((height, width, image.channels), np.float32)
    image.pixels.foreach_get(pixels.ravel())
    return pixels


def _as_png(pixels: np.ndarray) -> bytes:
    """Return what `_pixels` read as an 8-bit RGBA PNG."""
    import numpy as np
    from PIL import Image

    rows = np.round(pixels[::-1] * 255.0).clip(0, 255).astype(np.uint8)
    data = io.BytesIO()
    picture = Image.fromarray(rows.squeeze(-1) if rows.shape[2] == 1 else np.ascontiguousarray(rows))
    picture.convert("RGBA").save(data, "PNG", compress_level=3)
    return data.getvalue()


def _rendered(image: bpy.types.Image, scene: bpy.types.Scene) -> bytes:
    import tempfile

    settings = scene.render.image_settings
    names = [name for name in ("media_type", "file_format", "color_mode", "color_depth") if hasattr(settings, name)]
    before = {name: getattr(settings, name) for name in names}
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        target = Path(folder) / "image.png"
        try:
            if "media_type" in before:  # from 5.0, the formats offered depend on it
                settings.media_type = "IMAGE"
            settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "8"
            image.save_render(str(target), scene=scene)
        finally:
            for name, value in before.items():
                setattr(settings, name, value)
        return target.read_bytes()


def keep(data: bytes, suffix: str, folder: Path) -> Path:
    """Return the file in `folder` that holds `data`, named by that. Raises EspalierError where it cannot be written."""
    target = folder / (hashlib.sha256(data).hexdigest()[:32] + suffix)
    if not target.exists():
        make_folder(folder)
        with replacing(target) as part:
            part.write_bytes(data)
    return target


class ESPALIER_OT_randomize_seed(bpy.types.Operator):
    """Choose another seed, for a variation of the same image"""

    bl_idname = "espalier.randomize_seed"
    bl_label = "New Seed"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set the scene's seed to a number from the parameter's whole range."""
        seed = BY_NAME["seed"]
        context.scene.espalier.seed = random.randint(int(seed.minimum), int(seed.maximum))
        return {"FINISHED"}
