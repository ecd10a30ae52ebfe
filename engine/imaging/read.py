# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an image file safely, whatever its mode, as 8-bit RGBA in sRGB, the right way up."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import EspalierError
from .color import to_srgb

SIDE_LIMIT = 16384
"""Most pixels on a side."""
PIXEL_LIMIT = 128_000_000
"""Most pixels in all: what a 100-megapixel camera makes, and half a gigabyte once decoded."""
SMALLEST_SIDE = 16
"""Fewest pixels on a side that can show a subject."""

# Formats that Pillow decodes by itself. EPS and PDF would start another program, and TGA accepts any rubbish.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM")
_SIGNATURES = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8", b"\0\0\0\x0cjP")
_BROKEN = (OSError, SyntaxError, EOFError, ValueError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def read_image(path: str | Path, longest: int | None = None) -> Image.Image:
    """Return the image file `path` (the first frame of an animation) as RGBA, upright, in sRGB.

    Where `longest` is given, a larger image is reduced to that many pixels on its longest side.

    Raises EspalierError `image_missing`, `image_denied`, `image_empty`, `image_unreadable`, `image_truncated`,
    `image_damaged`, `image_too_large` (before anything is decoded) or `image_too_small`.
    """
    path = Path(path)
    _check_file(path)
    with _no_bomb_check(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = _open(path)
        except MemoryError:
            raise
        except _BROKEN as error:
            code = "image_truncated" if _looks_like_image(path) else "image_unreadable"
            raise EspalierError(code, detail=repr(error), path=path) from error
        with image:
            _check_size(path, image.size)
            try:
                if longest is not None:
                    image.draft("RGB", (longest, longest))
                image.load()
                upright = _upright(image)
            except MemoryError:
                raise
            except _BROKEN as error:
                cut = isinstance(error, EOFError) or "truncated" in str(error)
                code = "image_truncated" if cut else "image_damaged"
                raise EspalierError(code, detail=repr(error), path=path) from error
            # The profile belongs to the file, and transposing may drop it.
            rgba = to_srgb(_eight_bit(upright), image.info.get("icc_profile"))
    return reduce_to(rgba, longest) if longest is not None else rgba


def measure(data: bytes, path: Path) -> tuple[int, int]:
    """Return width and height in pixels of an image file that holds `data`, of which nothing is decoded.

    `path` is what failures call it. Not for several threads at a time, as Pillow's limit is one for all of them.

    Raises EspalierError as `read_image` does before it decodes.
    """
    if not data:
        raise EspalierError("image_empty", path=path)
    with _no_bomb_check(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _open(io.BytesIO(data)) as image:
                size = image.size
        except MemoryError:
            raise
        except _BROKEN as error:
            code = "image_truncated" if data.startswith(_SIGNATURES) else "image_unreadable"
            raise EspalierError(code, detail=repr(error), path=path) from error
    _check_size(path, size)
    return size


def reduce_to(image: Image.Image, longest: int) -> Image.Image:
    """Return `image` with at most `longest` pixels on its longest side, resampled with alpha premultiplied."""
    scale = longest / max(image.size)
    if scale >= 1.0:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise EspalierError("image_unreadable", detail="it is a folder", path=path)
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        raise EspalierError("image_missing", path=path) from error
    except PermissionError as error:
        raise EspalierError("image_denied", path=path) from error
    except (OSError, ValueError) as error:
        raise EspalierError("image_missing", detail=repr(error), path=path) from error
    if empty:
        raise EspalierError("image_empty", path=path)


def _open(source: Path | IO[bytes]) -> Image.Image:
    Image.init()
    return Image.open(source, formats=[name for name in _FORMATS if name in Image.OPEN])


def _looks_like_image(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(16).startswith(_SIGNATURES)
    return False


@contextmanager
def _no_bomb_check() -> Iterator[None]:
    """Let images of any size be opened, which decodes nothing: the limit here is lower and tells both sides."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _check_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if max(size) > SIDE_LIMIT or width * height > PIXEL_LIMIT:
        raise EspalierError(
            "image_too_large", path=path, width=width, height=height, limit=SIDE_LIMIT, pixels=f"{PIXEL_LIMIT:,}"
        )
    if min(size) < SMALLEST_SIDE:
        raise EspalierError("image_too_small", path=path, width=width, height=height, limit=SMALLEST_SIDE)


def _upright(image: Image.Image) -> Image.Image:
    """Return `image` turned as its EXIF orientation says; unreadable EXIF data says nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except (*_BROKEN, UnidentifiedImageError):
        return image.copy()


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return `image` in a mode of eight bits a channel; single channels of more bits are scaled to 0..255."""
    if image.mode not in ("I", "F", "I;16", "I;16L", "I;16B", "I;16N"):
        return image
    values = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    if image.mode == "F":
        white = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else top
    else:
        white = 65535.0 if image.mode.startswith("I;16") or top <= 65535.0 else 2.0**31 - 1
    return Image.fromarray(np.rint(np.clip(values / white, 0.0, 1.0) * 255.0).astype(np.uint8))
