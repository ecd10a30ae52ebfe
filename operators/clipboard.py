# SPDX-License-Identifier: GPL-3.0-or-later
"""Paste: an image, a file, or the path or address of one, from the clipboard into the panel.

Text is Blender's to read. An image is read by the draft engine's worker: Blender itself can only paste one into an
Image Editor, and not on every system.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import bpy

from ..engine.errors import EspalierError
from ..engine.imaging.choices import CLIPBOARD
from ..engine.request import is_url
from . import cutout, session
from .cutout_settings import MAKER
from .inquiry import Inquiry
from .languages import msgid, say

_DRIVE = re.compile("/[A-Za-z]:/")
STEP_S = 0.05
WAIT_S = 60.0

_awaited: Inquiry | None = None


def path_of(text: str) -> Path | None:
    """Return the file that `text` names: a path, also in quotation marks, or a file:// address; None for all else."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "").strip("\"'")
    if line.lower().startswith("file:"):
        parts = urlsplit(line)
        host = "" if parts.netloc in ("", "localhost") else f"//{parts.netloc}"
        path = unquote(parts.path)
        # On Windows the path of an address has a slash before its drive.
        line = host + (path[1:] if _DRIVE.match(path) else path)
    if not line or is_url(line):
        return None
    try:
        path = Path(bpy.path.abspath(line)).expanduser()
        return path if path.is_absolute() and path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


class ESPALIER_OT_use_image(bpy.types.Operator):
    """Use this image file for the next generation"""

    bl_idname = "espalier.use_image"
    bl_label = "Use Image"
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(name="Image File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    name: bpy.props.StringProperty(
        name="Name", description="What the image is to be called; empty, as the file", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Load the file, or take the image that was loaded from it before, and choose that in the panel."""
        try:
            image = bpy.data.images.load(bpy.path.abspath(self.filepath), check_existing=True)
        except RuntimeError as error:
            return session.refuse(self, EspalierError("image_missing", detail=str(error), path=self.filepath))
        if self.name:
            image.name = self.name
            image.pack()  # else it would be gone with the extension's own folder
        context.scene.espalier.image = image
        return {"FINISHED"}


class ESPALIER_OT_paste_image(bpy.types.Operator):
    """Use the image on the clipboard, or the image file whose path lies there"""

    bl_idname = "espalier.paste_image"
    bl_label = "Paste Image"
    # Not undoable: what comes of it, Use Image, is the undo step.
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take the path that lies there, or ask for the image and return at once; in the background, wait for it."""
        global _awaited
        try:
            text = context.window_manager.clipboard
            path = path_of(text)
            if path is not None:
                return _use(path)
            if is_url(text.strip()) and "\n" not in text.strip():
                self.report(
                    {"INFO"}, say("An address goes to the remote engine as it is: give it to Generate as the file")
                )
            session.session.error = None
            name = session.session.open_queue().ask(MAKER, CLIPBOARD, {"folder": str(cutout.inputs())})
            _awaited = session.session.inquiries.begin(CLIPBOARD, name)
            session.watch()
            if bpy.app.background:
                session.wait_for_answer(_awaited, WAIT_S)
                return _taken()
        except EspalierError as error:
            return session.refuse(self, error)
        if not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=STEP_S, persistent=True)
        return {"FINISHED"}


def _use(path: Path, name: str = "") -> set[str]:
    return bpy.ops.espalier.use_image("EXEC_DEFAULT", True, filepath=str(path), name=name)


def _taken() -> set[str]:
    """Use what the worker has found on the clipboard. Raises EspalierError."""
    global _awaited
    inquiry, _awaited = _awaited, None
    if inquiry is None or inquiry.waiting:
        raise EspalierError("question_unanswered", engine=MAKER, question=CLIPBOARD)
    if inquiry.error is not None:
        raise inquiry.error
    path = Path(inquiry.answer["files"][0])
    return _use(path, "Clipboard" if path.parent == cutout.inputs() else "")


def _tick() -> float | None:
    if _awaited is not None and _awaited.waiting and session.session.inquiries.of(CLIPBOARD) is _awaited:
        return STEP_S
    try:
        _taken()
    except EspalierError as error:
        session.fail(error)
    except Exception:
        session.crashed(msgid("pasting failed"))
    return None


OPERATORS = (ESPALIER_OT_use_image, ESPALIER_OT_paste_image)


def unregister() -> None:
    """Expect no answer any more."""
    global _awaited
    _awaited = None
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
