# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on loopback that speaks as the Hugging Face Hub does, with the store behind it that large files come from.

Two servers: the hub, which knows revisions, hashes and who may read what, and sends on to the store for large files;
and the store, which serves bytes by address, whole or in part, and has the files of releases as well.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
import urllib.parse
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BLOCK = 1 << 14


def git_hash(data: bytes) -> str:
    """Return the hash that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repo:
    """A repository at one revision. Files in `large` lie in the store; `gated` asks for a token that may read it."""

    revision: str
    files: dict[str, bytes]
    large: frozenset[str] = frozenset()
    gated: bool = False


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer of the store.

    `cut`: the connection breaks after `value` of the body; `hold`: it stands still there; `status`: that status;
    `html`: a login page; `wrong`: one byte differs; `short`: the file ends there; `no_range`: all of it is sent.
    """

    kind: str
    value: float = 0.0


@dataclass
class Seen:
    """A request, and how much of a body it was answered with."""

    server: str
    verb: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


@dataclass
class HubServer:
    """What both servers know. `tokens` maps a token to the repositories that it may read."""

    repos: dict[str, Repo] = field(default_factory=dict)
    releases: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    portal: bool = False
    expire_after: int = 0
    seen: list[Seen] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    holding: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    store_url: str = ""

    def spoil(self, name: str, *faults: Fault) -> None:
        """Have the next answers for the file `name` go wrong, one fault each."""
        self.faults[name] = deque(faults)

    def sent(self, name: str = "") -> int:
        """Return how many bytes of bodies the store has sent, of the file `name` or of all."""
        return sum(seen.sent for seen in self.seen if seen.server == "store" and name in seen.path)

    def asked(self, verb: str = "GET") -> list[str]:
        """Return the paths that were asked for with `verb`."""
        return [seen.path for seen in self.seen if seen.verb == verb]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: HubServer, name: str) -> None:
        self.hub, self.name = hub, name
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: Any) -> None:
        """Write nothing: the server remembers all requests."""

    def do_GET(self) -> None:
        hub = self.server.hub
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.answered = Seen(self.server.name, self.command, self.path, headers)
        hub.seen.append(self.answered)
        if hub.portal:
            self._send(200, {"Content-Type": "text/html"}, b"<html>Sign in to the network</html>")
        elif self.server.name == "hub":
            self._hub(hub, headers)
        else:
            self._store(hub, headers)

    do_HEAD = do_GET

    def _hub(self, hub: HubServer, headers: dict[str, str]) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        name, resolve, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        repo = hub.repos.get(name)
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in hub.tokens:
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        if not resolve or repo is None:
            return self._refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        if repo.gated and name not in hub.tokens.get(token, ()):
            return self._refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        if revision != repo.revision:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if file not in repo.files:
            return self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": revision})
        data = repo.files[file]
        told = {"X-Repo-Commit": revision, "ETag": f'"{git_hash(data)}"', "Content-Type": "text/plain"}
        if file not in repo.large:
            return self._send(200, told, data)
        address = f"{hub.store_url}/{name}/{file}?signature={len(hub.seen)}"
        linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"'}
        return self._send(302, {**told, **linked, "Location": address}, b"Found. Redirecting")

    def _refuse(self, status: int, code: str, words: str, more: dict[str, str] | None = None) -> None:
        told = {"X-Error-Message": words, **({"X-Error-Code": code} if code else {}), **(more or {})}
        self._send(status, told, words.encode())

    def _store(self, hub: HubServer, headers: dict[str, str]) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        if path.startswith("releases/"):  # as GitHub does
            return self._send(302, {"Location": f"{hub.store_url}/objects/{path}?signature=1"}, b"")
        data = self._data(hub, path.removeprefix("objects/"))
        if data is None:
            return self._send(404, {}, b"Not Found")
        name = path.rpartition("/")[2]
        queue = hub.faults.get(name)
        fault = queue.popleft() if queue else hub.always.get(name, Fault(""))
        if fault.kind == "status":
            return self._send(int(fault.value), {}, b"<Error/>")
        if fault.kind == "html":
            return self._send(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Sign in</html>")
        if fault.kind == "wrong":
            data = bytes([data[0] ^ 1]) + data[1:]
        if fault.kind == "short":
            data = data[: int(len(data) * fault.value)]
        told = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        wanted, status, begin = headers.get("range", ""), 200, 0
        if wanted.startswith("bytes=") and fault.kind != "no_range":
            begin = int(wanted[6:].partition("-")[0])
            if begin >= len(data):
                return self._send(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
            status, told["Content-Range"] = 206, f"bytes {begin}-{len(data) - 1}/{len(data)}"
        return self._send(status, told, data[begin:], fault)

    def _data(self, hub: HubServer, path: str) -> bytes | None:
        if path.startswith("releases/"):
            return hub.releases.get(path.partition("/")[2])
        owner, _, rest = path.partition("/")
        name, _, file = rest.partition("/")
        repo = hub.repos.get(f"{owner}/{name}")
        return repo.files.get(file) if repo else None

    def _send(self, status: int, told: dict[str, str], body: bytes, fault: Fault | None = None) -> None:
        self.answered.status = status
        self.send_response(status)
        for name, value in told.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = int(len(body) * fault.value) if fault and fault.kind in ("cut", "hold") else len(body)
        try:
            for start in range(0, stop, BLOCK):
                part = body[start : min(start + BLOCK, stop)]
                self.wfile.write(part)
                self.answered.sent += len(part)
        except OSError:  # the other side is gone
            self.close_connection = True
            return
        if fault and fault.kind == "hold":
            self.server.hub.holding.set()
            self.server.hub.release.wait(60)
        if fault and fault.kind in ("cut", "hold"):
            self.close_connection = True
            if fault.kind == "cut":
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))


@contextmanager
def serving(certificate: tuple[Path, Path] | None = None) -> Iterator[HubServer]:
    """Yield a hub with its store; both end with the block. With a `certificate` (chain, key) they speak https."""
    hub = HubServer()
    servers = [_Server(hub, "hub"), _Server(hub, "store")]
    scheme = "http"
    if certificate is not None:
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        for server in servers:
            server.socket = context.wrap_socket(server.socket, server_side=True)
    hub.url, hub.store_url = (f"{scheme}://127.0.0.1:{server.server_address[1]}" for server in servers)
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.release.set()
        for server in servers:
            server.shutdown()
            server.server_close()
