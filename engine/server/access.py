# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks: a known token, in either of the two headers, within its requests a minute."""

from __future__ import annotations

import math
import time

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from ..errors import EspalierError
from .settings import Settings
from .tokens import Tokens


class Access:
    """Tells whose a request is. Raises EspalierError for nobody's, and for one too many."""

    def __init__(self, settings: Settings, tokens: Tokens) -> None:
        self._settings, self._tokens = settings, tokens
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(settings.requests_per_minute)

    async def __call__(self, request: Request) -> str:
        """Return the name of the token, "" where this machine's own programs need none.

        Raises EspalierError `server_key_missing`, `server_key_invalid` or `server_rate`.
        """
        owner = await self._owner(request)
        request.state.owner = owner
        client = request.client.host if request.client else ""
        await self._count(f"token {owner}" if owner else f"client {client}")
        return owner

    async def _owner(self, request: Request) -> str:
        if self._settings.local and not self._tokens.names():
            return ""
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        key = told.strip() if scheme.lower() == "bearer" else ""
        key = key or request.headers.get("x-api-key", "").strip()
        if not key:
            raise EspalierError("server_key_missing")
        owner = self._tokens.owner(key)
        if owner is None:
            await self._count(f"stranger {request.client.host if request.client else ''}")
            raise EspalierError("server_key_invalid")
        return owner

    async def _count(self, who: str) -> None:
        if not await self._limiter.hit(self._limit, who):
            window = await self._limiter.get_window_stats(self._limit, who)
            seconds = max(1, math.ceil(window.reset_time - time.time()))
            raise EspalierError("server_rate", limit=self._settings.requests_per_minute, seconds=seconds)
