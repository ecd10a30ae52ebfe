# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that lies on the system's clipboard, as a file. Text that lies there is Blender's to read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageGrab

from ..errors import EspalierError
from ..files import make_folder, replacing


def answer(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"files": paths} of what lies on the clipboard: files, or an image, which is put into `about`'s "folder".

    Windows and macOS are asked themselves, Linux through wl-paste or xclip. A picture has a name of its content.

    Raises EspalierError `clipboard_empty`, `clipboard_unreadable`, `disk_full` or `output_unwritable`.
    """
    try:
        found = ImageGrab.grabclipboard()
    except Exception as error:
        # Each system fails in its own way, a missing program among them.
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise EspalierError("clipboard_unreadable", detail=repr(error), reason=reason) from error
    if isinstance(found, list):
        files = [str(path) for path in found if Path(path).is_file()]
        if files:
            return {"files": files}
    if not isinstance(found, Image.Image):
        raise EspalierError("clipboard_empty")
    return {"files": [str(_keep(found, Path(about["folder"])))]}


def _keep(image: Image.Image, folder: Path) -> Path:
    stream = io.BytesIO()
    try:
        image.convert("RGBA").save(stream, "PNG", compress_level=3)
    except (OSError, ValueError, SyntaxError) as error:
        raise EspalierError("clipboard_unreadable", detail=repr(error), reason="it is damaged") from error
    data = stream.getvalue()
    target = folder / f"{hashlib.sha256(data).hexdigest()[:32]}.png"
    if not target.exists():
        make_folder(folder)
        with replacing(target) as partial:
            partial.write_bytes(data)
    return target
