# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a screenshot with its reference, so that a changed word is told and the noise of another renderer is not.

Both pictures are reduced to the means of small blocks. Renderers differ by a few levels where an edge is smoothed,
which a mean hardly shows; a letter that is another one, or stands elsewhere, changes the blocks it covers by far more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

BLOCK = 4
"""Pixels along the side of a block: about the width of a letter's stroke and the gap beside it."""
LEVELS = 20.0
"""By how much, of 255, the mean of a block may differ in a channel."""
SPARE = 2
"""Blocks that may differ by more in a whole picture: one letter has at least four."""
COLORS = 256


def means(picture: Image.Image) -> np.ndarray:
    """Return the mean colors of the blocks of a picture, [rows, columns, 3]; what is left at the edges is left out."""
    levels = np.asarray(picture.convert("RGB"), np.float32)
    height, width = (size // BLOCK for size in levels.shape[:2])
    blocks = levels[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK, 3)
    return blocks.mean(axis=(1, 3))


def difference(shot: Image.Image, reference: Image.Image) -> str:
    """Return in words where a shot is not like its reference, empty where it is alike."""
    if shot.size != reference.size:
        return "it has {} x {} pixels instead of {} x {}".format(*shot.size, *reference.size)
    rows, columns = np.nonzero(_differing(shot, reference))
    if len(rows) <= SPARE:
        return ""
    left, right = columns.min() * BLOCK, (columns.max() + 1) * BLOCK
    top, bottom = rows.min() * BLOCK, (rows.max() + 1) * BLOCK
    return f"{len(rows)} blocks differ, from {left}, {top} to {right}, {bottom}"


def beside(shot: Image.Image, reference: Image.Image) -> Image.Image:
    """Return a shot, its reference, and the shot with all that differs in red, beside each other."""
    marked = np.asarray(shot.convert("L").convert("RGB")).copy() // 3
    if shot.size == reference.size:
        differing = _differing(shot, reference).repeat(BLOCK, 0).repeat(BLOCK, 1)
        marked[: differing.shape[0], : differing.shape[1]][differing] = (255, 60, 60)
    pictures = [shot.convert("RGB"), reference.convert("RGB"), Image.fromarray(marked)]
    all_three = Image.new("RGB", (sum(each.width + BLOCK for each in pictures), max(each.height for each in pictures)))
    left = 0
    for picture in pictures:
        all_three.paste(picture, (left, 0))
        left += picture.width + BLOCK
    return all_three


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as a small PNG of few colors; none of them is off by as much as counts as a difference."""
    few = picture.convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    few.save(path, optimize=True)


def _differing(shot: Image.Image, reference: Image.Image) -> np.ndarray:
    return np.abs(means(shot) - means(reference)).max(axis=2) > LEVELS
