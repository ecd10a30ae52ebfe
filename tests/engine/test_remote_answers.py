# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to the server outside any job: whose key it is, and what the model takes and costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from engine.backends.remote.account import Account
from engine.backends.remote.answers import answer
from engine.backends.remote.backend import RemoteBackend
from engine.backends.remote.bucket import Bucket
from engine.backends.remote.client import Client
from engine.backends.remote.exchange import Limits
from engine.backends.remote.schedule import Circuit
from engine.errors import EspalierError
from engine.progress import Cancelled
from tests.engine.backends_for_tests.remote_scaled import ScaledClock
from tests.support.small_server import Answer, Server, reply, serving

KEY = "sk-empiriolabs-0123456789abcdefABCDEF"
LIMITS = Limits(connect_s=2.0, read_s=2.0, answer_s=3.0, patience_s=60.0, answer_bytes=100_000)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    """Start servers."""
    with serving() as start:
        yield start


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, b'{"balance_usd": 7.5, "events": []}', 7.5),
        (404, b'{"detail": "Not Found"}', None),
        (401, b'{"error": {"code": "invalid_api_key", "message": "No such key"}}', "remote_key_invalid"),
        (200, b"<html>", "remote_unreadable"),
        (500, b"{}", "remote_broken"),
    ],
)
def test_whose_key_it_is_can_be_asked(
    serve: Callable[[Answer], Server], tmp_path: Path, status: int, body: bytes, found: Any
) -> None:
    def act(handler: BaseHTTPRequestHandler) -> None:
        reply(status, body)(handler) if "usage" in handler.path else reply()(handler)

    server = serve(act)
    backend = RemoteBackend(ScaledClock(1000.0), LIMITS)
    told = {"base_url": server.url, "key": KEY, "online": True, "shared": str(tmp_path)}
    try:
        if isinstance(found, str):
            with pytest.raises(EspalierError) as caught:
                backend.ask("account", told, lambda: False)
            assert caught.value.code == found
        else:
            assert backend.ask("account", told, lambda: False) == {
                "host": server.url.removeprefix("http://"),
                "key_source": "Espalier's preferences",
                "balance_usd": found,
            }
        with pytest.raises(Cancelled):
            backend.ask("usage", told, lambda: True)
    finally:
        backend.close()
    assert KEY not in str([path.read_bytes() for path in tmp_path.iterdir() if path.is_file()])


def test_the_models_description_is_kept_for_a_day(
    serve: Callable[[Answer], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(reply(body=b'{"id": "m", "pricing_rows": [{"resolution": "512", "price_usd": 0.02}], "x": 1}'))
    clock = ScaledClock(100.0)
    told = Account.from_json({"base_url": server.url, "key": KEY, "shared": str(tmp_path)}, {}, lambda _host: "")
    here = Client(told, Bucket(None, 50, clock), Circuit(clock), clock, LIMITS, lambda: None)
    rows = [{"resolution": "512", "price_usd": 0.02}]
    assert answer("model", here) == {"pricing_rows": rows, "cached": False}
    assert answer("model", here) == {"pricing_rows": rows, "cached": True}
    assert len(server.seen) == 1
    real = time.time
    for shift in (86_401.0, -10.0):
        monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
        assert answer("model", here)["cached"] is False
    assert len(server.seen) == 3
    with pytest.raises(ValueError, match="no question"):
        answer("weather", here)
