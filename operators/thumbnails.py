# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pictures of the images that jobs are made from. Blender loads each in a thread of its own once it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.jobs.job import Job
from ..engine.request import REBUILD, is_url

if TYPE_CHECKING:
    from bpy.utils.previews import ImagePreviewCollection

UNSEEN = ("image_missing", "image_denied", "image_empty", "image_not_a_file")
"""Failures of a job whose image cannot be shown either: Blender would draw an empty square."""
MOST = 128
"""Pictures that are kept; what was drawn longest ago goes first."""

_pictures: ImagePreviewCollection | None = None
_drawn: dict[str, None] = {}


def icon_of(job: Job) -> int:
    """Return the number of the icon that shows the image of `job`, 0 where it has none here. Quick, for drawing."""
    path = job.request.origin
    if job.request.engine == REBUILD or is_url(path) or (job.error is not None and job.error.code in UNSEEN):
        return 0
    pictures = _collection()
    _drawn.pop(path, None)
    _drawn[path] = None
    if path not in pictures:
        if len(_drawn) > MOST:
            oldest = next(iter(_drawn))
            del _drawn[oldest], pictures[oldest]
        pictures.load(path, path, "IMAGE")
    return pictures[path].icon_id


def _collection() -> ImagePreviewCollection:
    global _pictures
    if _pictures is None:
        import bpy.utils.previews

        _pictures = bpy.utils.previews.new()
    return _pictures


def unregister() -> None:
    """Give the pictures back."""
    global _pictures
    if _pictures is not None:
        import bpy.utils.previews

        bpy.utils.previews.remove(_pictures)
        _pictures = None
    _drawn.clear()
