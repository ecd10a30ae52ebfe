# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on their way in: received or fetched, measured before anything is decoded, and kept until their job ends."""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from ..errors import EspalierError
from ..files import make_folder, sync_folder, unwritable
from ..imaging.read import measure
from ..request import is_url
from .fetch import fetch
from .settings import Settings

_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)


class Intake:
    """The images of unfinished jobs, in a folder below that of the server, each with a name of our own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.root / "inputs"
        self._measuring = threading.Lock()

    async def take(self, image: str | bytes) -> Path:
        """Return the file that holds `image` (an address, a data URI or the bytes of a file) from now on.

        Raises EspalierError: `server_fetch_...`, `server_image_...`, or those of `imaging.read.measure`.
        """
        if isinstance(image, str) and is_url(image):
            limits = self._settings.image_bytes, self._settings.fetch_s, self._settings.private_images
            image = await fetch(image, *limits)
        return await to_thread.run_sync(self._keep, image)

    def _keep(self, image: str | bytes) -> Path:
        data = image if isinstance(image, bytes) else _decoded(image)
        if len(data) > self._settings.image_bytes:
            raise EspalierError("server_image_large", limit=self._settings.image_bytes >> 20)
        path = self._folder / secrets.token_hex(16)
        with self._measuring:
            width, height = measure(data, path)
        if width * height > self._settings.image_pixels:
            limit = self._settings.image_pixels // 1_000_000
            raise EspalierError("server_image_pixels", width=width, height=height, limit=limit)
        make_folder(self._folder)
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self._folder)
        except OSError as error:
            self.drop(path)
            raise unwritable(path, error) from error
        return path

    def drop(self, path: str | Path) -> None:
        """Remove an image whose job has come to an end."""
        path = Path(path)
        if path.parent == self._folder:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def sweep(self, kept: Iterable[str]) -> None:
        """Remove the images that are not among `kept`: those of jobs that ended while nobody looked."""
        names = {Path(path).name for path in kept}
        for path in self._folder.glob("*"):
            if path.name not in names:
                self.drop(path)


def _decoded(uri: str) -> bytes:
    match = _DATA_URI.match(uri)
    if match is None:
        raise EspalierError("server_image_form")
    try:
        return base64.b64decode(uri[match.end() :].encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise EspalierError("server_image_form") from None
