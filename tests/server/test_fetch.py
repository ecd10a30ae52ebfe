# SPDX-License-Identifier: GPL-3.0-or-later
"""An image's address leads nowhere but to the public internet: by name, by number, by redirect, or a moment later."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from engine.errors import EspalierError
from engine.server import fetch as module
from engine.server.fetch import fetch, is_public

PRIVATE = (
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1"),
    *("2002:7f00:1::", "2001:0:7f00:1::", "64:ff9b:1::1", "100::1", "not an address", ""),
)
PUBLIC = ("1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1")
BOMB = gzip.compress(bytes(100_000))


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert is_public(address)


class Site(http.server.BaseHTTPRequestHandler):
    """/image gives bytes, /long many, /endless more, /slow few, /bomb packed ones, /to?URL goes there, /loop back."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        kind, _, rest = self.path[1:].partition("?")
        if kind in ("to", "loop"):
            self.send_response(302)
            self.send_header("Location", rest or self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if kind == "endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # until whoever asked has had enough
                while self.wfile.write(b"x" * 4096):
                    pass
            return
        data = {"long": b"x" * 5000, "image": b"picture", "bomb": BOMB}.get(kind)
        self.send_response(200 if data or kind == "slow" else 404)
        if kind == "bomb":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data or b"12345")))
        self.end_headers()
        if data:
            self.wfile.write(data)
        elif kind == "slow":
            threading.Event().wait(2.0)

    def log_message(self, *args: Any) -> None:
        """Write nothing."""


@pytest.fixture
def site() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Site,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def get(url: str, private: bool = False, most: int = 1000, timeout_s: float = 20.0) -> bytes:
    return asyncio.run(fetch(url, most, timeout_s, private))


def code(url: str, **options: Any) -> str:
    with pytest.raises(EspalierError) as failure:
        get(url, **options)
    return failure.value.code


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST", "2130706433", "0x7f000001", "017700000001", "127.1", "0", "0.0.0.0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "127.0.0.1."),
    ],
)
def test_no_form_of_this_machine_is_asked(site: tuple[str, list[str]], host: str) -> None:
    port = site[0].rpartition(":")[2]
    assert code(f"http://{host}:{port}/image") in ("server_fetch_refused", "server_fetch_failed")
    assert code(f"HTTP://user@{host}:{port}/image") in ("server_fetch_refused", "server_fetch_failed")
    assert site[1] == []


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "http://", "http:///x", "//example.com"),
        *("http://exa mple.com/", "http://example.com:0/", "http://example.com:99999/", "http://[::1/", "http://a@b/"),
        *("http://example.com/\r\nX: y", "http://ex\u00e4mple.com/", "http://" + "a" * 5000),
    ],
)
def test_what_is_no_usable_address(url: str) -> None:
    assert code(url) in ("server_fetch_refused", "server_fetch_failed")


def test_an_image_is_fetched_where_that_is_allowed(site: tuple[str, list[str]]) -> None:
    host, _ = site
    assert get(f"http://{host}/image", private=True) == b"picture"
    assert get(f"http://{host}/to?http://{host}/image", private=True) == b"picture"
    assert get(f"http://{host}/to?/image", private=True) == b"picture"
    assert code(f"http://{host}/missing", private=True) == "server_fetch_failed"
    assert code(f"http://{host}/loop", private=True) == "server_fetch_failed"
    assert code(f"http://{host}/long", private=True) == "server_image_large"
    assert code(f"http://{host}/endless", private=True) == "server_image_large"
    assert get(f"http://{host}/bomb", private=True) == BOMB, "nothing is unpacked"
    assert code(f"http://{host}/slow", private=True, timeout_s=0.5) == "server_fetch_failed"
    assert code(f"http://{host}/to?file:///etc/passwd", private=True) == "server_fetch_refused"


@contextlib.contextmanager
def names(monkeypatch: pytest.MonkeyPatch, table: dict[str, list[str]], public: set[str]) -> Iterator[list[str]]:
    """Let names stand for addresses, the next one at each look-up, and count addresses in `public` as public."""
    looked: list[str] = []

    async def getaddrinfo(self: Any, host: str, port: int, **options: Any) -> list[Any]:
        looked.append(host)
        found = table.get(host, [host])
        told = found.pop(0) if len(found) > 1 else found[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in told.split()]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(module, "is_public", lambda address: address in public or is_public(address))
    yield looked


def test_a_name_is_looked_up_once_and_what_was_checked_is_what_is_asked(
    site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is public (an address of this machine that counts so), each later one is private."""
    host, asked = site
    port = host.rpartition(":")[2]
    with names(monkeypatch, {"rebind.example": ["127.0.0.1", "10.0.0.1"]}, {"127.0.0.1"}) as looked:
        assert get(f"http://rebind.example:{port}/image") == b"picture"
        assert looked == ["rebind.example"]
        # A redirect to the same name on another port looks again, and finds what may not be asked.
        other = f"http://rebind.example:{int(port) + 1}/image"
        assert code(other) == "server_fetch_refused"
    assert asked == ["/image"]


def test_a_redirect_leads_to_no_private_place(site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    host, asked = site
    port = host.rpartition(":")[2]
    table = {"public.example": ["127.0.0.1"], "inside.example": ["127.0.0.2"], "both.example": ["1.1.1.1 127.0.0.2"]}
    with names(monkeypatch, table, {"127.0.0.1"}):
        assert get(f"http://public.example:{port}/image") == b"picture"
        for target in ("inside.example", "both.example", "127.0.0.2", "169.254.169.254", "[::1]"):
            assert code(f"http://public.example:{port}/to?http://{target}:{port}/secret") == "server_fetch_refused"
    assert "/secret" not in asked
