# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on loopback that answers every request in the one way that a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Answers as `act` does, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self, act: Answer, port: int = 0) -> None:
        self.act = act
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: Any) -> None:
        """Write nothing."""

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers))
        self.rfile.read(int(headers.get("content-length", 0)))
        self.server.act(self)

    do_POST = do_DELETE = do_GET


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> Answer:
    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return act


@contextmanager
def serving() -> Iterator[Callable[[Answer], Server]]:
    """Yield what starts a server; all end with the block."""
    started: list[Server] = []

    def start(act: Answer) -> Server:
        started.append(Server(act))
        threading.Thread(target=started[-1].serve_forever, args=(0.02,), daemon=True).start()
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.shutdown()
            server.server_close()
