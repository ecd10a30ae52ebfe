# SPDX-License-Identifier: GPL-3.0-or-later
"""One exchange with a server: what goes along with it, what comes of it, and that it holds nobody up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from engine.backends.remote import client as client_module
from engine.backends.remote.account import Account
from engine.backends.remote.bucket import Bucket
from engine.backends.remote.client import Client, Lost
from engine.backends.remote.exchange import BROKEN, Limits, Line, attend
from engine.backends.remote.schedule import Circuit
from engine.errors import EspalierError
from engine.network import TooLarge, TooSlow
from engine.progress import Cancelled
from tests.engine.backends_for_tests.remote_scaled import ScaledClock
from tests.support.small_server import Answer, Server, reply, serving

KEY = "sk-empiriolabs-0123456789abcdefABCDEF"
LIMITS = Limits(connect_s=2.0, read_s=2.0, answer_s=3.0, create_s=3.0, patience_s=60.0, answer_bytes=100_000)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    """Start servers."""
    with serving() as start:
        yield start


def account(url: str, **data: Any) -> Account:
    return Account.from_json({"base_url": url, "key": KEY, "online": True, **data}, {}, lambda _host: "")


def client(url: str, scale: float = 100.0, check: Callable[[], None] = lambda: None, limits: Limits = LIMITS) -> Client:
    clock = ScaledClock(scale)
    return Client(account(url), Bucket(None, 50, clock), Circuit(clock), clock, limits, check)


def test_the_key_goes_along_and_nothing_else_that_tells_of_the_person(serve: Callable[[Answer], Server]) -> None:
    server = serve(reply())
    Line(account(server.url), LIMITS).exchange("GET", f"{server.url}/v1/x")
    ((_, _, headers),) = server.seen
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["user-agent"].startswith("Espalier/")
    assert set(headers) <= {"host", "user-agent", "accept", "accept-encoding", "connection", "authorization"}


@pytest.mark.parametrize("to_the_api", [True, False])
def test_no_password_of_a_netrc_goes_along(
    serve: Callable[[Answer], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to_the_api: bool
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(reply())
    base = server.url if to_the_api else "https://api.example"
    with Line(account(base), LIMITS).open("GET", f"{server.url}/a.glb", api=False) as response:
        assert response.status_code == 200
    ((_, _, headers),) = server.seen
    assert headers.get("authorization") == (f"Bearer {KEY}" if to_the_api else None)


def test_the_systems_proxy_is_used_but_not_for_this_machine(
    serve: Callable[[Answer], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = serve(reply(body=b'{"from": "server"}')), serve(reply(body=b'{"from": "proxy"}'))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.setenv("no_proxy", "")
    line = Line(account(server.url), LIMITS)
    assert line.exchange("GET", f"{server.url}/v1/x").body == b'{"from": "server"}'
    far = "http://gpu-box:8000"
    assert Line(account(far), LIMITS).exchange("GET", f"{far}/v1/x").body == b'{"from": "proxy"}'
    assert proxy.seen[0][1] == f"{far}/v1/x"


def test_a_proxy_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    here = client("https://api.example", 1000.0)
    with pytest.raises(EspalierError) as caught:
        here.get("https://api.example/v1/x", patience_s=1.0)
    assert caught.value.code == "remote_proxy"


@pytest.mark.parametrize("length", ["told", "untold"])
def test_an_answer_that_is_too_long_is_not_read(serve: Callable[[Answer], Server], length: str) -> None:
    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if length == "told":
            handler.send_header("Content-Length", "9999999999")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65_536)
        except OSError:
            return

    server = serve(act)
    with pytest.raises(TooLarge):
        Line(account(server.url), LIMITS).exchange("GET", f"{server.url}/v1/x")


def test_headers_that_come_letter_by_letter_are_given_up(serve: Callable[[Answer], Server]) -> None:
    """Each letter comes in time, and the answer never would."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        try:
            for letter in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000:
                handler.wfile.write(bytes([letter]))
                time.sleep(0.2)
        except OSError:
            return

    server = serve(act)
    line = Line(account(server.url), LIMITS)
    start = time.monotonic()
    with pytest.raises(TooSlow):
        attend(lambda _stop: line.exchange("GET", f"{server.url}/v1/x"), lambda: None, 1.0)
    assert 0.9 < time.monotonic() - start < 20.0


def test_a_cancel_does_not_wait_for_the_server(serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda _handler: time.sleep(30.0))
    cancel = time.monotonic() + 0.3

    def check() -> None:
        if time.monotonic() > cancel:
            raise Cancelled

    with pytest.raises(Cancelled):
        client(server.url, check=check, limits=Limits()).get(f"{server.url}/v1/x")
    assert time.monotonic() - cancel < 5.0


def test_who_is_left_alone_learns_of_it() -> None:
    left, go = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        go.wait(10.0)
        if stop.is_set():
            left.set()

    def check() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        attend(work, check, 10.0)
    assert not left.is_set(), "it was not even begun"
    checks = iter([None, None])

    def later() -> None:
        if next(checks, Cancelled) is Cancelled:
            raise Cancelled

    with pytest.raises(Cancelled):
        attend(work, later, 10.0)
    go.set()
    assert left.wait(10.0)


def test_a_system_without_threads_is_a_server_that_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(EspalierError) as caught:
        client("http://127.0.0.1:9", 10_000.0).create(b"{}", lambda: None, lambda: None)
    assert caught.value.code == "remote_unreachable"


def test_a_job_that_was_created_after_it_was_given_up_is_cancelled_there(serve: Callable[[Answer], Server]) -> None:
    answered = threading.Event()

    def act(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "POST":
            time.sleep(0.6)
        reply(202, b'{"job_id": "j1", "status": "queued"}')(handler)
        if handler.command == "DELETE":
            answered.set()

    server = serve(act)

    def check() -> None:
        if server.seen:
            raise Cancelled

    with pytest.raises(Cancelled):
        client(server.url, check=check).create(b"{}", lambda: None, lambda: None)
    assert answered.wait(5.0)
    assert [seen[:2] for seen in server.seen] == [("POST", "/v1/3d/generations"), ("DELETE", "/v1/jobs/j1")]


def test_a_creation_that_was_given_up_before_it_was_sent_stays_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting, go, ended = threading.Event(), threading.Event(), threading.Event()

    def exchange(_line: Line, _method: str, _url: str, body: Any, **_options: Any) -> Any:
        connecting.set()
        go.wait(10.0)
        try:
            body.read()
        finally:
            ended.set()

    monkeypatch.setattr(Line, "exchange", exchange)
    told: list[str] = []

    def check() -> None:
        if connecting.is_set():
            raise Cancelled

    with pytest.raises(Cancelled):
        client("http://127.0.0.1:9", check=check).create(
            b"{}", lambda: told.append("to be sent"), lambda: told.append("not taken")
        )
    assert told == ["to be sent", "not taken"]
    go.set()
    assert ended.wait(10.0)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_creation_is_not_turned_into_something_else(serve: Callable[[Answer], Server], status: int) -> None:
    server = serve(reply(status, Location="/v2/create"))
    with pytest.raises(EspalierError) as caught:
        client(server.url).create(b"{}", lambda: None, lambda: None)
    assert caught.value.code == "remote_redirected"
    assert len(server.seen) == 1


def test_a_creation_follows_the_server_to_another_path_of_its_own(serve: Callable[[Answer], Server]) -> None:
    def act(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/v2/create":
            reply(202, b'{"job_id": "j1"}')(handler)
        else:
            reply(308, Location="/v2/create")(handler)

    server = serve(act)
    assert client(server.url).create(b'{"a": 1}', lambda: None, lambda: None).status == 202
    assert [headers["content-length"] for _, _, headers in server.seen] == ["8", "8"]


def test_redirections_come_to_an_end(serve: Callable[[Answer], Server]) -> None:
    server = serve(reply(307, Location="/v1/x"))
    with pytest.raises(BROKEN):
        Line(account(server.url), LIMITS).exchange("GET", f"{server.url}/v1/x")
    assert len(server.seen) == 6


def test_nothing_is_sent_through_an_open_circuit(serve: Callable[[Answer], Server]) -> None:
    server = serve(reply(500))
    clock = ScaledClock(1.0)
    circuit = Circuit(clock)
    here = Client(account(server.url), Bucket(None, 50, clock), circuit, clock, LIMITS, lambda: None)
    for _ in range(8):
        circuit.failed()
    told: list[str] = []
    with pytest.raises(EspalierError) as caught:
        here.create(b"{}", lambda: told.append("sent"), lambda: None)
    assert caught.value.code == "remote_circuit_open"
    assert "8 times" in caught.value.cause
    assert not told
    assert not server.seen


def test_a_server_that_has_worked_is_waited_for(serve: Callable[[Answer], Server]) -> None:
    """A night's batch does not fail because the server is away for some minutes."""
    server = serve(reply(202, b'{"job_id": "j1"}'))
    clock = ScaledClock(500.0)
    circuit = Circuit(clock)
    circuit.succeeded()
    port = server.server_address[1]
    away = Limits(connect_s=1.0)
    here = Client(account(server.url), Bucket(None, 50, clock), circuit, clock, away, lambda: None)
    server.shutdown()
    server.server_close()
    back: list[Server] = []

    def come_back() -> None:
        back.append(Server(server.act, port))
        back[0].serve_forever(0.02)

    timer = threading.Timer(0.6, come_back)
    timer.start()
    try:
        assert here.create(b"{}", lambda: None, lambda: None).status == 202
        assert circuit.failures == 0
        assert len(back[0].seen) == 1
    finally:
        timer.join(1.0)
        back[0].shutdown()
        back[0].server_close()


def test_polls_wait_out_an_open_circuit_and_say_so(serve: Callable[[Answer], Server]) -> None:
    trouble = [500] * 9
    server = serve(lambda handler: reply(trouble.pop() if trouble else 200)(handler))
    clock, told = ScaledClock(200.0), []
    circuit = Circuit(clock)
    here = Client(account(server.url), Bucket(None, 50, clock), circuit, clock, Limits(), lambda: None, told.append)
    assert here.get(f"{server.url}/v1/x").status == 200
    assert len(server.seen) == 10
    assert any("times in a row; trying again in" in words for words in told)
    assert not circuit.failures


def test_a_creation_goes_over_a_connection_of_its_own(serve: Callable[[Answer], Server]) -> None:
    """One that was kept may be dead, and then nobody could tell whether it carried the request."""
    ports: list[int] = []

    def act(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        reply()(handler)

    server = serve(act)
    server.RequestHandlerClass.protocol_version = "HTTP/1.1"  # type: ignore[attr-defined]
    try:
        here = client(server.url)
        for _ in range(2):
            here.get(f"{server.url}/v1/x")
        here.create(b"{}", lambda: None, lambda: None)
        here.create(b"{}", lambda: None, lambda: None)
    finally:
        server.RequestHandlerClass.protocol_version = "HTTP/1.0"  # type: ignore[attr-defined]
    assert ports[0] == ports[1]
    assert len(set(ports)) == 3


def test_only_what_was_not_sent_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ScaledClock(1000.0)
    nowhere = "http://127.0.0.1:9"
    here = Client(account(nowhere), Bucket(None, 50, clock), Circuit(clock), clock, LIMITS, lambda: None)
    sent: list[int] = []
    with pytest.raises(EspalierError) as caught:
        here.create(b"{}", lambda: sent.append(1), lambda: sent.append(-1))
    assert caught.value.code == "remote_unreachable"
    assert "refused" in caught.value.cause
    assert sent == [1, -1] * 5

    def broken(self: Client, body: Any) -> Any:
        body.read(1)
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(client_module.Client, "_send", broken)
    with pytest.raises(Lost, match="reset"):
        here.create(b"{}", lambda: None, lambda: None)
