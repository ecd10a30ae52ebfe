# SPDX-License-Identifier: GPL-3.0-or-later
"""Uvicorn, with an end in good order: the first signal lets what runs finish, the second stops at once."""

from __future__ import annotations

import asyncio
import gc
from types import FrameType

import uvicorn
from fastapi import FastAPI

from .desk import Desk
from .log import log
from .settings import Settings

_IDLE_CONNECTION_S = 30


class Server(uvicorn.Server):
    """Serves `app` until it is signalled; polls and downloads are answered while `desk` drains."""

    def __init__(self, app: FastAPI, desk: Desk, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=settings.connections,
                timeout_keep_alive=_IDLE_CONNECTION_S,
                timeout_graceful_shutdown=_IDLE_CONNECTION_S,
                lifespan="on",
            )
        )
        self._desk, self._drain_s = desk, settings.drain_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._signals = 0

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)  # type: ignore[arg-type]
        # What has been loaded until now stays. Looking through it again and again for garbage would hold every request
        # up for a tenth of a second.
        gc.collect()
        gc.freeze()
        if self.started:
            listening = [server.getsockname()[:2] for one in self.servers for server in one.sockets]
            log().info("listening", addresses=listening)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, stop at the second, leave everything at the third."""
        self._signals += 1
        if self._signals > 1 or self._loop is None:
            self.force_exit = self._signals > 2
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        log().info("draining", seconds=self._drain_s)
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        await self._desk.drain(self._drain_s)
        self.should_exit = True
