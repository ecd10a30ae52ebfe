# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that stands in for the API is as strict as the API, and tells of what a client does wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.queue_harness import ROOT
from tests.engine.remote_schedule import clairvoyant_s, least_s
from tests.support.api_book import Book, Refusal, ServerClock
from tests.support.api_faults import KINDS, Fault, parse
from tests.support.api_server import ApiServer

IMAGE = "https://images.example/chair.png"


def ask(server: ApiServer, verb: str, path: str, **options: object) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Bearer {server.key}"}
        return session.request(verb, server.url + path, **{"headers": headers, "timeout": 10, **options})  # type: ignore[arg-type]


def create(server: ApiServer, **payload: object) -> requests.Response:
    return ask(server, "POST", "/v1/3d/generations", json={"model": "trellis-2-4b", "image": IMAGE, **payload})


def test_the_documented_way() -> None:
    with ApiServer(job_s=6.0, scale=60.0) as server:
        answer = create(server, resolution="512", pipeline_type="512", seed=5)
        assert answer.status_code == 202
        told = answer.json()
        assert set(told) == {"job_id", "status", "poll_url", "created_at"}
        assert ask(server, "GET", told["poll_url"]).json()["status"] in ("queued", "processing")
        time.sleep(0.15)
        done = ask(server, "GET", told["poll_url"]).json()
        assert done["status"] == "completed"
        link = done["result"]["data"][0]["url"]
        assert requests.get(link, timeout=10).content == server.glb
        part = requests.get(link, headers={"Range": "bytes=10-19"}, timeout=10)
        assert (part.status_code, part.content) == (206, server.glb[10:20])
        assert server.leaks() == []
        requests.get(link, headers={"x-api-key": server.key}, timeout=10)
        assert len(server.leaks()) == 1
        usage = ask(server, "GET", "/v1/account/usage").json()
        assert usage["balance_usd"] == pytest.approx(1000 - 0.025)
        assert len(usage["events"]) == server.billed == 1


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        *(({"model": "other"}, 404), ({"image": ""}, 400), ({"image": "chair.png"}, 400), ({"seed": "5"}, 400)),
        *(({"seed": True}, 400), ({"resolution": 1024}, 400), ({"resolution": "2048"}, 400), ({"steps": 5}, 400)),
        *(({"remesh": 1}, 400), ({"resolution": "512", "pipeline_type": "1024_cascade"}, 400), ({"seed": -1}, 400)),
    ],
)
def test_what_is_wrong_is_refused(payload: dict[str, object], status: int) -> None:
    with ApiServer() as server:
        assert create(server, **payload).status_code == status
        assert server.billed == 0


def test_who_has_no_key_is_refused() -> None:
    with ApiServer() as server:
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": server.key}, {"x-api-key": "x"}):
            assert ask(server, "GET", "/v1/account/usage", headers=headers).status_code == 401
        assert ask(server, "GET", "/v1/account/usage", headers={"x-api-key": server.key}).status_code == 200
        assert ask(server, "GET", "/v1/nothing").json() == {"detail": "Not Found"}


def test_no_minute_has_more_requests_than_the_rate() -> None:
    clock = ServerClock(0.0)
    book = Book(clock, "key", rate=50)
    admitted: list[float] = []
    for second in range(240):
        clock.ahead_s = float(second)
        for _ in range(3):
            with suppress(Refusal):
                book.admit("poll")
                admitted.append(second)
    assert book.throttled == 240 * 3 - 200
    assert len(admitted) == 200
    assert all(b - a >= 60 for a, b in zip(admitted, admitted[50:], strict=False))


@pytest.mark.parametrize("kind", KINDS["any"])
def test_every_fault_does_harm_or_none(kind: str) -> None:
    value = {"status": 503, "redirect": "foreign", "slow": 0.0, "stall": 0.05, "stall_answered": 0.05}.get(kind, 0)
    fine = kind in ("slow", "stall", "gzip", "chunked")
    with ApiServer(faults=[Fault("create", kind, value)]) as server:
        try:
            answer = (
                create(server)
                if kind != "redirect"
                else ask(server, "POST", "/v1/3d/generations", json={}, allow_redirects=False)
            )
            good = answer.status_code == 202 and "job_id" in answer.json()
        except (requests.RequestException, ValueError):
            good = False
        assert good == fine
        assert create(server).status_code == 202, "only once"


def test_faults_are_read_from_a_command_line() -> None:
    assert parse("create:status=503*20") == Fault("create", "status", 503.0, times=20)
    assert parse("asset:cut=0.5") == Fault("asset", "cut", 0.5)
    assert parse("poll:redirect=foreign") == Fault("poll", "redirect", "foreign")
    with pytest.raises(ValueError, match="no fault poll:huge"):
        parse("poll:huge=5")


@given(st.lists(st.floats(0.0, 400.0), min_size=1, max_size=120), st.integers(1, 60))
def test_the_bound_is_a_bound(takes_s: list[float], rate: int) -> None:
    assert least_s(takes_s, rate) <= clairvoyant_s(takes_s, rate) + 1e-6


def test_it_is_a_program() -> None:
    command = [sys.executable, "-m", "tests.support.api_server", "--fault", "health:status=500"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert requests.get(f"{told['url']}/health", timeout=10).status_code == 500
        assert requests.get(f"{told['url']}/health", timeout=10).json() == {"status": "ok"}
        process.terminate()
