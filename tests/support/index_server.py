# SPDX-License-Identifier: GPL-3.0-or-later
"""A package index on loopback as real ones are (PEP 503 and 691, byte ranges), with the faults that real ones have."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

JSON = "application/vnd.pypi.simple.v1+json"
PORTAL = b"<!DOCTYPE html><html><body><form action='/login'>Sign in to use this network</form></body></html>"
_RANGE = re.compile(r"bytes=(\d+)-")


@dataclass
class Fault:
    """What happens to answers whose path contains `part`, `times` times (-1: always).

    `kind` is one of cut (the connection breaks after the fraction `at`), truncated (a whole answer, but only that much
    of the file), damaged (one byte is another), portal (a web page in its place), status, slow (`seconds` before each
    `step` bytes), quiet (no word at all for `seconds`).
    """

    part: str
    kind: str
    times: int = 1
    at: float = 0.5
    status: int = 404
    seconds: float = 0.05
    step: int = 1000


@dataclass
class Offer:
    """What an index has: files by name of package, in bytes."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def add(self, name: str, *paths: Path) -> None:
        for path in paths:
            self.files.setdefault(name, {})[path.name] = path.read_bytes()


class IndexServer(ThreadingHTTPServer):
    """Serves `offer` below /simple/; keeps the paths that were asked for in `asked` and the bytes sent in `sent`."""

    daemon_threads = True

    def __init__(self, offer: Offer, certificate: tuple[Path, Path] | None = None) -> None:
        self.offer = offer
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.ranges: list[tuple[str, int]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.sent = 0
        self.json = True
        self.resumable = True
        self.states_hashes = True
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            scheme = "https"
        self.base = f"{scheme}://127.0.0.1:{self.server_address[1]}"
        self.url = f"{self.base}/simple/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""

    def asked_for(self, word: str) -> int:
        """Return how many requests had `word` in their path."""
        return sum(word in path for path in self.asked)

    def fault(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.part in path and fault.times:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    server: IndexServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Write nothing."""

    def do_GET(self) -> None:
        path = re.sub(r"^https?://[^/]+", "", self.path)
        with self.server.lock:
            self.server.asked.append(path)
            self.server.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        fault = self.server.fault(path)
        if fault is not None and fault.kind == "status":
            self.answer(fault.status, b"nothing here")
        elif fault is not None and fault.kind == "portal":
            self.answer(200, PORTAL, "text/html")
        elif (match := re.fullmatch(r"/simple/([^/]+)/", path)) and match[1] in self.server.offer.files:
            self.index(match[1], fault)
        elif match := re.fullmatch(r"/files/([^/]+)/([^/]+)", path):
            self.file(*match.groups(), fault)
        else:
            self.answer(404, b"not found")

    def index(self, name: str, fault: Fault | None) -> None:
        files = self.server.offer.files[name]
        digests = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
        stated = self.server.states_hashes
        if self.server.json and JSON in self.headers.get("Accept", ""):
            listing = [
                {
                    "filename": file,
                    "url": f"/files/{name}/{file}",
                    "hashes": {"sha256": digests[file]} if stated else {},
                }
                for file in files
            ]
            body = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": listing}).encode()
            self.answer(200, body, JSON, fault)
            return
        links = "".join(
            f'<a href="../../files/{name}/{file}{"#sha256=" + digests[file] if stated else ""}">{file}</a><br/>\n'
            for file in files
        )
        self.answer(200, f"<html><body><h1>Links for {name}</h1>\n{links}</body></html>".encode(), "text/html", fault)

    def file(self, name: str, file: str, fault: Fault | None) -> None:
        data = self.server.offer.files.get(name, {}).get(file)
        if data is None:
            self.answer(404, b"not found")
            return
        if fault is not None and fault.kind == "truncated":
            data = data[: int(len(data) * fault.at)]
        elif fault is not None and fault.kind == "damaged":
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        self.answer(200, data, "application/octet-stream", fault)

    def answer(self, status: int, body: bytes, kind: str = "text/plain", fault: Fault | None = None) -> None:
        offset = 0
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match and status == 200 and self.server.resumable:
            offset = int(match[1])
            self.server.ranges.append((self.path, offset))
            if offset >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status = 206
        if fault is not None and fault.kind == "quiet":
            time.sleep(fault.seconds)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) - offset))
        if status == 206:
            self.send_header("Content-Range", f"bytes {offset}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        end = int(len(body) * fault.at) if fault is not None and fault.kind == "cut" else len(body)
        step = fault.step if fault is not None and fault.kind == "slow" else 65_536
        with suppress(OSError):
            for start in range(offset, max(end, offset), step):
                block = body[start : min(start + step, end)]
                self.wfile.write(block)
                self.server.sent += len(block)
                if fault is not None and fault.kind == "slow":
                    time.sleep(fault.seconds)
        if end < len(body):
            self.close_connection = True
            with suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(2)


@contextmanager
def serving(offer: Offer, certificate: tuple[Path, Path] | None = None) -> Iterator[IndexServer]:
    """Serve `offer` until the end of the block, with TLS where a certificate and its key are given."""
    server = IndexServer(offer, certificate)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
