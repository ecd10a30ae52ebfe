# SPDX-License-Identifier: GPL-3.0-or-later
"""The cut-out before anything is generated: what an engine will see of an image, as a picture and as a file.

A worker makes it, outside any job. The file is an RGBA image whose transparency every engine takes as the outline.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import EspalierError
from ..files import make_folder, replacing
from . import removal
from .choices import BACKDROP, KEPT, LARGEST_THRESHOLD, MASK, MODEL, SIDE, Order
from .framing import SOLID, VISIBLE, crop, picture_frame, subject_frame
from .read import read_image, reduce_to
from .subject import LARGEST_CUT, find_subject, has_outline

MASK_SIDE = 1024
"""Pixels on the longest side of the picture that a mask is painted on: what the models look at."""
MOST_KEPT = 24
"""How many cut-outs stay in the folder."""
_VERSION = 1
_SQUARES = 16
_LIGHT, _DARK = 150, 105


_lock = threading.Lock()
_last: tuple[tuple[object, ...], Image.Image, str] | None = None
"""The subject that was found last: a threshold that is dragged does not ask the model anew."""


def answer(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of the Order in `about`, whose "folder" is where files go.

    "cut" is the RGBA file, "preview" a file of SIDE x SIDE RGBA pixels (uint8, the lowest row first), "base" a PNG to
    paint a mask on, "how" says how the subject was found, and "model" with which model.

    Raises EspalierError for the image, as `cut_out`, and `background_model_missing`, `background_model_failed`,
    `mask_empty`, `cutout_empty`, `cutout_whole`, `image_opaque`, `disk_full` or `output_unwritable`.
    """
    # One at a time: a model takes gigabytes, and whoever asks again has given up on what was asked before.
    with _lock:
        return _answer(Order.of(about), Path(about["folder"]))


def _answer(order: Order, folder: Path) -> dict[str, Any]:
    model = _model(order)
    stem = folder / _digest(order, model)
    files = {name: stem.with_name(f"{stem.name}{end}") for name, end in _ENDS.items()}
    known = files["note"]
    if all(file.is_file() for file in files.values()):
        with suppress(OSError, ValueError):
            note: dict[str, Any] = json.loads(known.read_text("utf-8"))
            os.utime(known)
            return note
    image = read_image(order.path, longest=LARGEST_CUT)
    cut, how = make(image, order)
    make_folder(folder)
    with replacing(files["cut"]) as partial:
        cut.save(partial, "PNG", compress_level=1)
    with replacing(files["base"]) as partial:
        reduce_to(paintable(image, cut), MASK_SIDE).save(partial, "PNG", compress_level=1)
    with replacing(files["preview"]) as partial:
        partial.write_bytes(np.asarray(preview(cut, order))[::-1].tobytes())
    note = {name: str(files[name]) for name in ("cut", "preview", "base")}
    note |= {"how": how, "model": model if how == MODEL else ""}
    with replacing(known) as partial:
        partial.write_text(json.dumps(note), "utf-8")
    _trim(folder, known)
    return note


_ENDS = {"cut": ".png", "base": "-base.png", "preview": ".rgba", "note": ".json"}


def make(image: Image.Image, order: Order) -> tuple[Image.Image, str]:
    """Return the cut-out of RGBA `image` that `order` asks for, and how its subject was found. Raises as `answer`."""
    if order.keep:
        alpha = np.asarray(image.getchannel("A"))
        if subject_frame(alpha) is None:
            raise EspalierError("image_transparent", path=order.path)
        if order.inflates and not has_outline(alpha):
            raise EspalierError("image_opaque", path=order.path)
        return image, KEPT
    if order.mask:
        cut, how = _masked(image, order), MASK
    else:
        cut, how = _found(image, order)
    cut = above(cut, order.threshold)
    alpha = np.asarray(cut.getchannel("A"))
    if subject_frame(alpha) is None:
        raise EspalierError("mask_empty" if how == MASK else "cutout_empty", path=order.path)
    if not has_outline(alpha):
        raise EspalierError("cutout_whole", path=order.path)
    return cut, how


def above(cut: Image.Image, threshold: float) -> Image.Image:
    """Return RGBA `cut` without what is less opaque than `threshold`; its edge stays soft, what is solid solid."""
    if threshold <= 0.0:
        return cut
    level = min(threshold, LARGEST_THRESHOLD)
    alpha = np.asarray(cut.getchannel("A")).astype(np.float32) / 255
    made = cut.copy()
    made.putalpha(Image.fromarray(np.rint(np.clip((alpha - level) / (1 - level), 0, 1) * 255).astype(np.uint8)))
    return made


def preview(cut: Image.Image, order: Order) -> Image.Image:
    """Return SIDE x SIDE opaque RGBA pixels: `cut` framed as the engine frames it, on a checkerboard.

    The models scale what is kept as it is to a square; the draft engine sets it into one.
    """
    if order.keep and not order.inflates:
        shown = cut
    else:
        solid = VISIBLE if order.inflates else SOLID
        framed = None if order.keep else subject_frame(np.asarray(cut.getchannel("A")), solid)
        shown, frame = crop(cut, framed or picture_frame(cut.size))
        shown = shown.crop(tuple(round(edge) for edge in frame.box))  # type: ignore[arg-type]
    board = Image.fromarray(_checkerboard())
    board.alpha_composite(shown.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0))
    return board


def paintable(image: Image.Image, cut: Image.Image) -> Image.Image:
    """Return RGBA of the size of `cut` with its alpha; where it is transparent, the colours are those of `image`."""
    colors = np.array(image.resize(cut.size) if image.size != cut.size else image)
    pixels = np.asarray(cut)
    seen = pixels[..., 3] > 0
    colors[seen] = pixels[seen]
    colors[..., 3] = pixels[..., 3]
    return Image.fromarray(colors)


def _found(image: Image.Image, order: Order) -> tuple[Image.Image, str]:
    global _last
    model = _model(order)
    key = (order.path, _state(order.path), order.background, model)
    known = _last
    if known is not None and known[0] == key:
        return known[1], known[2]
    named = order.background in removal.MODELS
    if named and model != order.background and not has_outline(np.asarray(image.getchannel("A"))):
        raise EspalierError("background_model_missing", model=order.background)
    cut, how = find_subject(image, order.path, model=model if named else "", models=order.background != BACKDROP)
    if named and how == BACKDROP:
        raise EspalierError("background_model_failed", model=model, path=order.path)
    _last = key, cut, how
    return cut, how


def _masked(image: Image.Image, order: Order) -> Image.Image:
    """Return `image` with the alpha that was painted, its colours freed from the background where that is known."""
    try:
        rows = np.fromfile(order.mask, np.uint8).reshape(-1, order.mask_width)[::-1]
    except (OSError, ValueError, ZeroDivisionError) as error:
        raise EspalierError("mask_empty", detail=repr(error), path=order.path) from error
    alpha = Image.fromarray(np.ascontiguousarray(rows)).resize(image.size, Image.Resampling.BICUBIC)
    try:
        colors = paintable(image, _found(image, order)[0])
    except EspalierError:
        # The mask stands for itself where nothing else finds the subject.
        colors = image.copy()
    masked = colors if colors.size == image.size else colors.resize(image.size)
    masked.putalpha(alpha)
    return masked


def _model(order: Order) -> str:
    """Return the model that finds the subject, empty where none would."""
    if order.keep or order.background == BACKDROP or not removal.available():
        return ""
    chosen = removal.chosen_model(order.background if order.background in removal.MODELS else "")
    return chosen[0] if chosen is not None else ""


def _digest(order: Order, model: str) -> str:
    mask = hashlib.sha256(Path(order.mask).read_bytes()).hexdigest() if order.mask else ""
    parts = (_VERSION, SIDE, asdict(order), _state(order.path), model, mask)
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _state(path: str) -> tuple[int, int]:
    """Return what changes when a file does; it is the reading that tells of one that is not there."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_mtime_ns, found.st_size
    return 0, 0


def _checkerboard() -> npt.NDArray[np.uint8]:
    squares = np.indices((SIDE, SIDE)) // _SQUARES
    odd = squares.sum(axis=0) % 2
    board = np.full((SIDE, SIDE, 4), 255, np.uint8)
    board[..., :3] = np.where(odd, _DARK, _LIGHT)[..., None]
    return board


def _trim(folder: Path, latest: Path) -> None:
    """Leave MOST_KEPT cut-outs in `folder`, those that were wanted last, and `latest` among them."""

    def used(note: Path) -> float:
        with suppress(OSError):
            return note.stat().st_mtime
        return 0.0

    notes = sorted(folder.glob(f"*{_ENDS['note']}"), key=used, reverse=True)
    stale = [note.with_name(note.stem + end) for note in notes[MOST_KEPT:] if note != latest for end in _ENDS.values()]
    # What has no note yet is being written, maybe by another Blender.
    for file in (*stale, *sorted(folder.glob("*.alpha"), key=used, reverse=True)[MOST_KEPT:]):
        with suppress(OSError):
            file.unlink()
