# SPDX-License-Identifier: GPL-3.0-or-later
"""What every request passes: whose host it names, how much and how slowly it sends, and that it is counted."""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import EspalierError
from .answers import refusal
from .log import log
from .metrics import Metrics
from .settings import MEGABYTE, Settings, is_loopback_host


class Guard:
    """Stands before the application `app`."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._own = urlsplit(settings.public_url).hostname or "localhost"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._check({name: value for name, value in scope["headers"] if name in _LOOKED_AT})
            await self._app(scope, self._limited(receive), watched)
        except EspalierError as error:
            if not status:
                await refusal(error, {"Connection": "close"})(scope, receive, watched)
        finally:
            self._tell(scope, status, time.perf_counter() - began)

    def _check(self, headers: dict[bytes, bytes]) -> None:
        """Raise EspalierError for a page of another site that has this machine's browser ask us, or for a large body.

        Without a token nothing else would tell that page from its person.
        """
        if self._settings.local:
            names = [_host_of("//" + headers.get(b"host", b"").decode("latin-1"))]
            if origin := headers.get(b"origin"):
                names.append(_host_of(origin.decode("latin-1")))
            if not all(name and (name == self._own or is_loopback_host(name)) for name in names):
                raise EspalierError("server_host")
        length = headers.get(b"content-length", b"0").decode("latin-1")
        if not length.isdecimal() or int(length[:20]) > self._settings.body_bytes:
            raise EspalierError("server_body_large", limit=self._settings.body_bytes // MEGABYTE)

    def _limited(self, receive: Receive) -> Receive:
        """Return `receive` with an end to how much comes, and when."""
        settings, received, more = self._settings, 0, True
        deadline = time.monotonic() + settings.body_s

        async def limited() -> Message:
            nonlocal received, more
            if not more:
                return await receive()
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
                    message = await receive()
            except TimeoutError:
                raise EspalierError("server_body_slow", seconds=f"{settings.body_s:g}") from None
            received += len(message.get("body", b""))
            more = bool(message.get("more_body", False))
            if received > settings.body_bytes:
                raise EspalierError("server_body_large", limit=settings.body_bytes // MEGABYTE)
            return message

        return limited

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        path = getattr(route, "path", "") or "unknown"  # the pattern: the path itself may hold a signature
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, path, str(status)).inc()
        self._metrics.request_seconds.labels(path).observe(seconds)
        client = (scope.get("client") or ("",))[0]
        owner = scope.get("state", {}).get("owner")
        milliseconds = round(seconds * 1000, 1)
        log().info(
            "request", method=method, route=path, status=status, ms=milliseconds, client=client, token=owner or ""
        )


_LOOKED_AT = frozenset({b"host", b"origin", b"content-length"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@lru_cache(64)
def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
