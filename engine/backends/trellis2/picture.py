# SPDX-License-Identifier: GPL-3.0-or-later
"""From the image file to the picture that the models look at, and to the thumbnail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import EspalierError
from ...files import replacing
from ...imaging.framing import VISIBLE, crop, on_black, picture_frame, subject_frame
from ...imaging.read import read_image, reduce_to
from ...imaging.subject import cut_out
from ...progress import Run
from .pipeline import Given

LONGEST = 2048
"""Pixels on the longest side that are kept of an image; the models look at 1024."""
THUMBNAIL_SIDE = 256


def prepare(pipeline: Any, path: str, preprocess: bool, run: Run, model: str) -> tuple[Image.Image, Image.Image]:
    """Return the RGB picture for the models, and the RGBA image that it was made from.

    With `preprocess` the subject is cut out and framed as upstream does it; else the whole picture is shown, on black
    where it is transparent. `model` removes the background. Raises EspalierError for the image, and Cancelled.
    """
    image = read_image(path, longest=LONGEST)
    run.progress(0.3)
    if not preprocess:
        if not (np.asarray(image.getchannel("A")) > VISIBLE).any():
            raise EspalierError("image_transparent", path=path)
        return on_black(image), image
    cut = cut_out(image, path, lambda fraction: run.progress(0.3 + 0.5 * fraction), model)
    if subject_frame(np.asarray(cut.getchannel("A"))) is None:
        raise EspalierError("image_transparent", path=path)
    pipeline.rembg_model = Given(cut)
    return pipeline.preprocess_image(_solid(cut)), cut


def _solid(cut: Image.Image) -> Image.Image:
    """Return `cut`, made solid where nothing is: upstream frames by what is more than four fifths opaque."""
    alpha = np.asarray(cut.getchannel("A"))
    if (alpha > 0.8 * 255).any():
        return cut
    made = cut.copy()
    made.putalpha(Image.fromarray((alpha.astype(np.float32) * (255 / max(int(alpha.max()), 1))).astype(np.uint8)))
    return made


def write_thumbnail(image: Image.Image, path: Path) -> Path:
    """Write the subject of RGBA `image` to `path` and return that."""
    frame = subject_frame(np.asarray(image.getchannel("A"))) or picture_frame(image.size)
    small = reduce_to(crop(image, frame)[0], THUMBNAIL_SIDE)
    with replacing(path) as partial:
        small.save(partial, "PNG")
    return path
