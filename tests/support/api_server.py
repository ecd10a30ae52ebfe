# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on loopback that behaves as the remote engine's API does, or goes wrong as it is told.

    python -m tests.support.api_server --job-seconds 3 --form percent --fault asset:cut=0.5

prints one JSON object with its address and key, and serves until it is interrupted. In a test:

    with ApiServer(job_s=60, scale=60) as server:  # a job takes a second
        server.script.add(Fault("poll", "status", 503, times=20))
        ... server.url, server.key, server.seen, server.book.jobs, server.leaks()

Assets come from another origin, as the documents say ("public, so the key must NOT be sent to them").
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.api_assets import finished_asset
from tests.support.api_book import Book, ServerClock
from tests.support.api_faults import KINDS, Fault, Script, parse
from tests.support.api_forms import FORMS, Form
from tests.support.api_http import Handler

KEY = "sk-empiriolabs-loopback-0123456789abcdefABCDEF"
"""What a test greps for where no key may be."""

FOREIGN_HOST = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"


@dataclass
class Seen:
    """One request as it came in: the server's time, whether it came to the foreign origin, and the answer's status.

    The status is 0 until there is an answer.
    """

    time: float
    foreign: bool
    method: str
    path: str
    headers: dict[str, str]
    status: int = 0


class Listener(ThreadingHTTPServer):
    """One origin of an ApiServer."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, api: ApiServer, host: str, port: int, foreign: bool, tls: ssl.SSLContext | None) -> None:
        self.api, self.foreign, self._tls = api, foreign, tls
        self._open: set[socket.socket] = set()
        super().__init__((host, port), Handler)
        scheme = "https" if tls else "http"
        self.origin = f"{scheme}://{host}:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; a handshake happens later, in the connection's thread."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; one that is to be reset must not be shut down first."""
        self._open.discard(request)
        if getattr(request, "fileno", lambda: -1)() == -1:
            return
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[:4] == b"\1\0\0\0":
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that went away; tell of bugs here."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
            self.api.bugs.append(repr(sys.exc_info()[1]))

    def drop_all(self) -> None:
        """Close all connections."""
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class ApiServer:
    """The server. All times are its own: `scale` of its seconds pass in a second.

    `job_s` is how long a job takes, or a function of its number. `tls` is a pair of PEM files, certificate and key.
    """

    def __init__(
        self,
        form: Form | str = "documented",
        *,
        job_s: float | Callable[[int], float] = 1.0,
        scale: float = 1.0,
        rate: int = 50,
        window: str = "sliding",
        balance: float = 1000.0,
        key: str = KEY,
        glb: bytes | None = None,
        faults: Iterable[Fault] = (),
        tls: tuple[Path, Path] | None = None,
        port: int = 0,
        latency_s: float = 0.0,
    ) -> None:
        self.form = FORMS[form] if isinstance(form, str) else form
        self.key, self.latency_s = key, latency_s
        self.glb = finished_asset() if glb is None else glb
        self.clock = ServerClock(scale)
        self.book = Book(self.clock, key, job_s, balance, rate, window)
        self.script = Script(faults)
        self.seen: list[Seen] = []
        self.bugs: list[str] = []
        self.changed = False
        self.closing = threading.Event()
        self._tls = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self.main = Listener(self, "127.0.0.1", port, False, self._tls)
        self.foreign = Listener(self, FOREIGN_HOST, 0, True, self._tls)
        self.url, self.foreign_url = self.main.origin, self.foreign.origin
        for listener in (self.main, self.foreign):
            self._serve(listener)

    def _serve(self, listener: Listener) -> None:
        threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> ApiServer:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()
        assert not self.bugs, self.bugs

    def close(self) -> None:
        """End: no port is open afterwards."""
        self.closing.set()
        for listener in (self.main, self.foreign):
            listener.shutdown()
            listener.server_close()
            listener.drop_all()

    def away(self) -> None:
        """Refuse connections and close those that there are, as a server does that is being restarted."""
        self.main.shutdown()
        self.main.server_close()
        self.main.drop_all()

    def back(self) -> None:
        """Take connections again, at the same address."""
        self.main = Listener(self, "127.0.0.1", self.main.server_address[1], False, self._tls)
        self._serve(self.main)

    def account(self, shared: Path, **changes: Any) -> dict[str, Any]:
        """Return what a worker is told of this server, as the add-on tells it."""
        return {
            "base_url": self.url, "key": self.key, "ca_bundle": "", "max_side": 1024, "online": True,
            "shared": str(shared), "requests_per_minute": self.book.rate, **changes,
        }  # fmt: skip

    @property
    def billed(self) -> int:
        """How many generations were accepted."""
        return len(self.book.jobs)

    def requests(self, method: str, path: str, foreign: bool = False) -> list[Seen]:
        """Return the requests whose path begins with `path`, in order."""
        return [s for s in self.seen if (s.method, s.foreign) == (method, foreign) and s.path.startswith(path)]

    def leaks(self) -> list[Seen]:
        """Return all requests that carried a secret to where none may go: another origin, or an address."""
        return [
            seen
            for seen in tuple(self.seen)
            if self.key in seen.path
            or (seen.foreign and (self.key in str(seen.headers) or {"authorization", "x-api-key"} & set(seen.headers)))
        ]

    def note(self, foreign: bool, method: str, path: str, headers: dict[str, str]) -> Seen:
        """Remember a request."""
        seen = Seen(self.clock.now(), foreign, method, path, headers)
        self.seen.append(seen)
        return seen


def main() -> None:
    """Serve until interrupted."""
    kinds = "\n".join(f"  {at}:{kind:15}{told}" for at, row in KINDS.items() for kind, told in row.items())
    parser = argparse.ArgumentParser(
        description="Serve the remote engine's API on loopback.",
        epilog=f"faults, PLACE:KIND=VALUE*TIMES:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--form", choices=FORMS, default="documented", metavar="FORM", help=", ".join(FORMS))
    parser.add_argument("--job-seconds", type=float, default=3.0)
    parser.add_argument("--scale", type=float, default=1.0, help="the server's seconds in a second")
    parser.add_argument("--rate", type=int, default=50, help="requests a minute")
    parser.add_argument("--balance", type=float, default=1000.0)
    parser.add_argument("--fault", action="append", default=[], type=parse)
    parser.add_argument("--until-eof", action="store_true", help="end with the standard input")
    told = parser.parse_args()
    if told.until_eof:
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    with ApiServer(
        told.form, job_s=told.job_seconds, scale=told.scale, rate=told.rate, balance=told.balance, key=told.key,
        faults=told.fault, port=told.port,
    ) as server:  # fmt: skip
        print(json.dumps({"url": server.url, "key": server.key}), flush=True)
        shown = 0
        try:
            while True:
                time.sleep(0.2)
                for seen in itertools.takewhile(lambda seen: seen.status, server.seen[shown:]):
                    print(f"{seen.time:9.2f} {seen.status} {seen.method} {seen.path}", file=sys.stderr, flush=True)
                    shown += 1
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
