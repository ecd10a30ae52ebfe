# SPDX-License-Identifier: GPL-3.0-or-later
"""From an image that Blender holds to a file that an engine can read; and the seed's dice."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import bpy

from ..engine.errors import EspalierError
from ..engine.files import make_folder, replacing
from ..engine.parameters import BY_NAME

READABLE = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})


def image_file(image: bpy.types.Image, scene: bpy.types.Scene, folder: Path) -> Path:
    """Return a file with the pixels of `image`: its own where that is current, else a copy inside `folder`.

    Copies are named by their content, so that the same picture is kept once. Raises EspalierError.
    """
    if image.source in {"MOVIE", "TILED"}:
        raise EspalierError("image_not_saved", name=image.name)
    path = Path(bpy.path.abspath(image.filepath_raw, library=image.library)) if image.filepath_raw else None
    packed = image.packed_file
    if image.source == "FILE" and not image.is_dirty:
        if packed is not None and path is not None and path.suffix.lower() in READABLE:
            return _keep(bytes(packed.data), path.suffix.lower(), folder)
        if packed is None and path is not None and (path.suffix.lower() in READABLE or not path.exists()):
            return path
    return _keep(_as_png(image, scene), ".png", folder)


def _as_png(image: bpy.types.Image, scene: bpy.types.Scene) -> bytes:
    """Return `image` as an 8-bit RGBA PNG; a render and a float image as they look in this scene."""
    try:
        if image.type in {"RENDER_RESULT", "COMPOSITING"} or image.is_float:
            return _rendered(image, scene)
        return _pixels(image)
    except (RuntimeError, OSError, ValueError) as error:
        raise EspalierError("image_not_saved", detail=str(error), name=image.name) from error


def _pixels(image: bpy.types.Image) -> bytes:
    # Not Image.save(): before 4.3 it marks the artist's unsaved painting as saved.
    import numpy as np
    from PIL import Image

    width, height = image.size
    pixels = np.empty((height, width, image.channels), np.float32)
    image.pixels.foreach_get(pixels.ravel())
    rows = np.round(pixels[::-1] * 255.0).clip(0, 255).astype(np.uint8)
    data = io.BytesIO()
    picture = Image.fromarray(rows.squeeze(-1) if image.channels == 1 else np.ascontiguousarray(rows))
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


def _keep(data: bytes, suffix: str, folder: Path) -> Path:
    target = folder / (hashlib.sha256(data).hexdigest()[:32] + suffix)
    if not target.exists():
        make_folder(folder)
        with replacing(target) as partial:
            partial.write_bytes(data)
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
