# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a fleet in one process: its fronts over HTTP, its dispatcher and its maker, without Ray between them."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

from engine.server.app import create_app
from engine.server.deployment import Dispatch, Maker
from engine.server.fleet import FleetDesk, Plan
from engine.server.metrics import Metrics
from engine.server.serve import Server
from tests.support.waiting import PATIENCE_S, wait_for


class Handle:
    """Calls the methods of `part` on its event loop, as a handle of Serve's does in its process."""

    def __init__(self, part: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._part, self._loop, self._name = part, loop, ""

    def __getattr__(self, name: str) -> Handle:
        called = Handle(self._part, self._loop)
        called._name = name
        return called

    def remote(self, *arguments: Any) -> asyncio.Future[Any]:
        """Begin the call."""
        call = getattr(self._part, self._name)(*arguments)
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))


class LoneFleet:
    """A dispatcher with one maker, and `fronts` of them at `urls`, over the store of `plan`."""

    def __init__(self, plan: Plan, fronts: int = 1) -> None:
        self._loop = asyncio.new_event_loop()
        self._threads = [threading.Thread(target=self._loop.run_forever, daemon=True)]
        self._threads[0].start()
        maker = Handle(Maker.func_or_class(plan.told()), self._loop)
        self.dispatch = self._there(Dispatch.func_or_class, plan.told(), maker)
        self.servers: list[Server] = []
        for _ in range(fronts):
            settings, metrics = replace(plan.settings(), port=0), Metrics()
            desk: Any = FleetDesk(plan, settings, metrics, Handle(self.dispatch, self._loop))
            self.servers.append(Server(create_app(settings, desk, metrics), desk, settings))
            self._threads.append(threading.Thread(target=self.servers[-1].run, daemon=True))
            self._threads[-1].start()
        wait_for(lambda: all(server.started for server in self.servers))
        ports = [server.servers[0].sockets[0].getsockname()[1] for server in self.servers]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self._there(self.dispatch.check_health)

    def close(self) -> None:
        """End it; what is unfinished stays in the ledger."""
        for server in self.servers:
            server.should_exit = True
        for thread in self._threads[1:]:
            thread.join(PATIENCE_S)
        self._there(self.dispatch._dispatcher.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._threads[0].join(PATIENCE_S)

    def _there(self, act: Any, *arguments: Any) -> Any:
        async def acted() -> Any:
            result = act(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(acted(), self._loop).result(PATIENCE_S)
