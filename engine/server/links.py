# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of assets that nobody can make up, and that expire."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from itsdangerous import BadData, URLSafeSerializer

from ..errors import EspalierError
from ..files import make_folder, replacing

_SALT = "espalier.asset"
_LONGEST = 512
_REMEMBERED = 4096
"""So many are not signed anew: a finished job may be polled again and again."""


class Links:
    """Signs and reads the part of an asset's address that names its job. `key` must outlive a restart."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._signer = URLSafeSerializer(key, salt=_SALT)
        self._clock = clock
        self._signed = lru_cache(_REMEMBERED)(self._sign)

    def sign(self, job: str, expires: float) -> str:
        """Return the signed name of `job`, good until `expires` (seconds since 1970); the same for the same two."""
        return self._signed(job, math.ceil(expires))

    def read(self, signed: str) -> str:
        """Return the job that `signed` names. Raises EspalierError `server_link_invalid` or `server_link_expired`."""
        try:
            if len(signed) > _LONGEST:
                raise ValueError("too long")
            job, expires = self._signer.loads(signed)
        except (BadData, ValueError, TypeError):
            raise EspalierError("server_link_invalid") from None
        if self._clock() > expires:
            raise EspalierError("server_link_expired")
        return str(job)

    def _sign(self, job: str, expires: int) -> str:
        return str(self._signer.dumps([job, expires]))


def signing_key(path: Path) -> bytes:
    """Return the key in the file `path`, which is made with a new one if need be. Raises EspalierError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        make_folder(path.parent)
        with replacing(path) as partial:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
        return path.read_bytes()
