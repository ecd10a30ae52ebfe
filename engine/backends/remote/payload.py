# SPDX-License-Identifier: GPL-3.0-or-later
"""The request as the server gets it: all 35 parameters, and the image as an address or inside."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...files import replacing
from ...imaging.read import read_image, reduce_to
from ...request import GenerationRequest, is_url
from .faults import MODEL

JPEG_QUALITY = 95
THUMBNAIL_SIDE = 256
MOST_KEPT = 4


@dataclass(frozen=True, slots=True)
class Payload:
    """The JSON of a creation, its SHA-256, and a small picture of what is sent, where that is here."""

    body: bytes
    digest: str
    thumbnail: Image.Image | None


class Body:
    """Bytes to send that know whether anybody has begun to read them: none can have been sent before."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._stream = io.BytesIO(data)
        self._lock = threading.Lock()
        self._abandoned = False
        self.begun = False

    def abandon(self) -> bool:
        """Give nothing out if nothing was given out yet, and tell whether that is so."""
        with self._lock:
            self._abandoned = not self.begun
            return self._abandoned

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(65_536):
            yield block

    def again(self) -> Body:
        """Begin from the start, for a server that has sent the request on to another address of its own."""
        self._stream.seek(0)
        return self

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises OSError once they were abandoned."""
        with self._lock:
            if self._abandoned:
                raise OSError("given up before anything was sent")
            self.begun = True
        return self._stream.read(size)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as it is sent, and a small one of it."""

    uri: str
    thumbnail: Image.Image


class Pictures:
    """The last few images that were prepared: many seeds of one image are asked for at once. For many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[object, ...], Picture] = {}

    def of(self, path: str, longest: int | None, check: Callable[[], None]) -> Picture:
        """Return the image file `path`, its longest side at most `longest` pixels, prepared.

        Raises EspalierError as `read_image`, and whatever `check` raises.
        """
        key = (path, longest, *_state(path))
        with self._lock:
            known = self._kept.get(key)
        if known is not None:
            return known
        image = read_image(path, longest=longest)
        check()
        made = Picture(data_uri(image), reduce_to(image, THUMBNAIL_SIDE))
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return made


def _state(path: str) -> tuple[int, int]:
    """Return what changes when a file does; it is the reading that tells of one that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def build(
    request: GenerationRequest,
    max_side: int,
    check: Callable[[], None] = lambda: None,
    pictures: Pictures | None = None,
) -> Payload:
    """Return what to send for `request`. The image is scaled down to `max_side` where the server prepares it anyway.

    Raises EspalierError as `read_image`, and whatever `check` raises.
    """
    thumbnail = None
    source = request.image
    if not is_url(source):
        longest = max_side if request.parameters["preprocess_image"] else None
        picture = (pictures or Pictures()).of(source, longest, check)
        source, thumbnail = picture.uri, picture.thumbnail
        check()
    body = json.dumps({"model": MODEL, "image": source, **request.parameters}, ensure_ascii=True, allow_nan=False)
    data = body.encode("ascii")
    return Payload(data, hashlib.sha256(data).hexdigest(), thumbnail)


def data_uri(image: Image.Image) -> str:
    """Return an RGBA image as a data URI: PNG where it has alpha, else the smaller of PNG and high-quality JPEG.

    Only pixels are written: what a camera notes beside them (its place, its owner) stays here.
    """
    opaque = image.getchannel("A").getextrema()[0] == 255
    pixels = image.convert("RGB") if opaque else image
    kind, data = "png", _encode(pixels, "PNG")
    if opaque:
        jpeg = _encode(pixels, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
        if len(jpeg) < len(data):
            kind, data = "jpeg", jpeg
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def write_thumbnail(image: Image.Image, path: Path) -> Path:
    """Write a small picture as PNG, and return its path. Raises EspalierError where it cannot be written."""
    with replacing(path) as partial:
        partial.write_bytes(_encode(image, "PNG", optimize=True))
    return path


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    clean = image.copy()
    clean.info = {}
    clean.save(stream, kind, **options)
    return stream.getvalue()
