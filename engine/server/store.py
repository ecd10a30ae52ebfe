# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a fleet's images and assets are: a folder that all machines reach, or whatever fsspec can, such as S3.

Who may use it, and where it is, the libraries behind fsspec read where they always do: `AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL` and so on, which Ray's processes inherit from `ray start`.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from ..errors import EspalierError
from ..files import make_folder

T = TypeVar("T")
INPUTS, ASSETS = "inputs", "assets"
_COPY_S = 600.0
"""For so long after its last use a front keeps its copy of an asset: a download is made of several requests."""


class Store:
    """Files by folder and name at the address `url`. Every method waits for the network, and may be called anywhere.

    All raise EspalierError: `server_store_missing`, `server_store_refused`, `server_store_unknown` or
    `server_store_down`.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._lock = threading.Lock()
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._used: dict[Path, float] = {}

    def ensure(self) -> None:
        """Make sure that files can be written, read and removed. Makes folders, but no bucket."""
        name, text = f".{secrets.token_hex(8)}", b"espalier"
        for folder in (INPUTS, ASSETS):
            self._do(lambda filesystem, path: _folder(filesystem, path), folder, "")
            self._do(lambda filesystem, path: filesystem.pipe_file(path, text), folder, name)
            read = self._do(lambda filesystem, path: filesystem.cat_file(path), folder, name)
            self.remove(folder, name)
            if read != text:
                raise EspalierError("server_store_down", store=self._url, reason="it gave back something else")

    def put(self, source: Path, folder: str, name: str) -> None:
        """Write the file `source` to the store."""
        self._do(lambda filesystem, path: filesystem.put_file(str(source), path), folder, name)

    def get(self, folder: str, name: str, target: Path, *, missing: bool = False) -> None:
        """Write what the store has to the file `target`. Raises FileNotFoundError where it may be `missing`, and is."""
        self._do(lambda filesystem, path: filesystem.get_file(path, str(target)), folder, name, missing=missing)

    def remove(self, folder: str, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._do(lambda filesystem, path: filesystem.rm_file(path), folder, name, missing=True)

    def local(self, folder: str, name: str, made: float) -> Path:
        """Return a file of this machine with what the store has, as changed at `made` (seconds since 1970).

        That time is the same on all machines, so that a download that breaks off can go on at another front. A copy is
        removed some time after it was last asked for. Raises FileNotFoundError where the store has nothing.
        """
        filesystem, path = self._do(lambda *both: both, folder, name)
        if "file" in filesystem.protocol:
            return Path(path)
        with self._lock:
            if self._copies is None:
                self._copies = tempfile.TemporaryDirectory(prefix="espalier-store-", ignore_cleanup_errors=True)
            copy = Path(self._copies.name, name)
            self._drop_old()
            self._used[copy] = time.monotonic()
        if not copy.exists():
            partial = copy.with_name(f"{name}.{secrets.token_hex(8)}.partial")
            try:
                self.get(folder, name, partial, missing=True)
                os.utime(partial, (made, made))
                partial.replace(copy)
            finally:
                partial.unlink(missing_ok=True)
        return copy

    def _drop_old(self) -> None:
        for copy, used in list(self._used.items()):
            if time.monotonic() - used > _COPY_S:
                del self._used[copy]
                with suppress(OSError):  # Windows keeps what is being sent
                    copy.unlink(missing_ok=True)

    def _do(self, act: Callable[[Any, str], T], folder: str, name: str, *, missing: bool = False) -> T:
        """Return what `act` makes of the filesystem and the path. Raises FileNotFoundError where `missing` may be."""
        try:
            filesystem, path = fsspec.core.url_to_fs(f"{self._url}/{folder}/{name}".rstrip("/"))
            return act(filesystem, path)
        except FileNotFoundError as error:
            if missing:
                raise
            raise EspalierError("server_store_missing", repr(error), store=self._url) from error
        except PermissionError as error:
            raise EspalierError("server_store_refused", repr(error), store=self._url) from error
        except (ImportError, ValueError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise EspalierError("server_store_unknown", repr(error), store=self._url, reason=reason) from error
        except Exception as error:  # each of fsspec's libraries has failures of its own
            reason = type(error).__name__
            raise EspalierError("server_store_down", repr(error), store=self._url, reason=reason) from error


def _folder(filesystem: Any, path: str) -> None:
    if "file" in filesystem.protocol:
        make_folder(Path(path))
