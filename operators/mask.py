# SPDX-License-Identifier: GPL-3.0-or-later
"""The mask: the cut-out as an image of the .blend, whose transparency is painted in Blender's own Image Editor."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import bpy

from ..engine.errors import EspalierError
from ..engine.files import make_folder, replacing
from . import session
from .cutout_settings import mask_of
from .languages import say


def mask_file(mask: bpy.types.Image, folder: Path) -> tuple[Path, int]:
    """Return the file in `folder` with the transparency of `mask` (uint8, the lowest row first) and a row's width.

    The first channel is taken of an image without transparency. Raises EspalierError `image_not_saved`, `disk_full` or
    `output_unwritable`.
    """
    import numpy as np

    width, height = mask.size
    pixels = np.empty(width * height * mask.channels, np.float32)
    try:
        mask.pixels.foreach_get(pixels)
        if not pixels.size:
            raise ValueError("it has no pixels")
    except (RuntimeError, ValueError, TypeError) as error:
        raise EspalierError("image_not_saved", detail=repr(error), name=mask.name) from error
    alpha = pixels[3 if mask.channels == 4 else 0 :: mask.channels]
    data = (alpha * np.float32(255) + np.float32(0.5)).clip(0, 255).astype(np.uint8).tobytes()
    target = folder / f"{hashlib.sha256(data).hexdigest()[:32]}-{width}.alpha"
    try:
        os.utime(target)  # the worker removes those that were used least lately
    except OSError:
        make_folder(folder)
        with replacing(target) as part:
            part.write_bytes(data)
    return target, width


class ESPALIER_OT_edit_mask(bpy.types.Operator):
    """Paint what belongs to the subject: erase and add transparency in an Image Editor. The engine then uses it"""

    bl_idname = "espalier.edit_mask"
    bl_label = "Edit Mask"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is something to paint on once the cut-out was made, or was painted before."""
        from . import cutout

        settings = context.scene.espalier
        if mask_of(settings) is None and not (cutout.is_shown(settings) and cutout.state.note):
            cls.poll_message_set(say("The cut-out of the image has not been made yet"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make the mask from the cut-out if there is none yet, and show it in an Image Editor, ready to paint."""
        settings = context.scene.espalier
        mask = mask_of(settings)
        if mask is None:
            try:
                mask = _from_cutout(settings)
            except EspalierError as error:
                return session.refuse(self, error)
        if not bpy.app.background:
            _show(context, mask)
        return {"FINISHED"}


def _from_cutout(settings: bpy.types.PropertyGroup) -> bpy.types.Image:
    from . import cutout

    base = Path(cutout.state.note["base"])
    try:
        mask = bpy.data.images.load(str(base))
    except RuntimeError as error:
        raise EspalierError("image_missing", detail=str(error), path=base) from error
    mask.name = f"{Path(settings.image.name).stem} Mask"
    mask.pack()
    mask.filepath_raw = ""
    settings.cutout.mask_of = settings.image
    settings.cutout.mask = mask
    return mask


def _show(context: bpy.types.Context, mask: bpy.types.Image) -> None:
    """Show `mask` in the largest Image Editor of this window, or in a new window where it has none."""
    editors = [area for area in context.window.screen.areas if area.ui_type == "IMAGE_EDITOR"]
    if editors:
        area = max(editors, key=lambda editor: editor.width * editor.height)
    else:
        known = set(context.window_manager.windows)
        bpy.ops.wm.window_new()
        window = next((window for window in context.window_manager.windows if window not in known), None)
        if window is None:
            return
        area = window.screen.areas[0]
        area.ui_type = "IMAGE_EDITOR"
    space = area.spaces.active
    space.image = mask
    space.mode = "PAINT"
    space.show_region_ui = True


class ESPALIER_OT_discard_mask(bpy.types.Operator):
    """Forget what was painted, and use the cut-out as it was found"""

    bl_idname = "espalier.discard_mask"
    bl_label = "Discard Mask"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There has to be one."""
        return mask_of(context.scene.espalier) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take the mask out of the settings, and out of the .blend where nothing else uses it."""
        settings = context.scene.espalier
        mask = settings.cutout.mask
        settings.cutout.mask = settings.cutout.mask_of = None
        if mask.users == 0 and mask.library is None:
            bpy.data.images.remove(mask)
        return {"FINISHED"}


OPERATORS = (ESPALIER_OT_edit_mask, ESPALIER_OT_discard_mask)


@bpy.app.handlers.persistent
def _saving(*_args: object) -> None:
    """Keep what was painted on masks: they are packed, and Blender would leave the strokes out."""
    for scene in bpy.data.scenes:
        mask = scene.espalier.cutout.mask
        if mask is not None and mask.is_dirty and mask.library is None:
            mask.pack()


def register() -> None:
    """Listen for the .blend being saved."""
    bpy.app.handlers.save_pre.append(_saving)


def unregister() -> None:
    """Stop listening."""
    bpy.app.handlers.save_pre.remove(_saving)
