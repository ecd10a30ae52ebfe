# SPDX-License-Identifier: GPL-3.0-or-later
"""What was paid for is found again, by the ledger, the usage list or an address; or what is known is told."""

from __future__ import annotations

import base64
import json
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from engine.backends.remote.account import Account
from engine.backends.remote.backend import RemoteBackend
from engine.backends.remote.exchange import Limits, Reply
from engine.backends.remote.ticket import Ticket
from engine.backends.remote.usage import find_output, read_date, what_is_known
from engine.errors import EspalierError
from engine.request import GenerationRequest
from tests.engine.backends_for_tests.remote_scaled import ScaledClock
from tests.engine.remote_harness import SCALE, RecordedRun, delivered, generate, posts
from tests.support.api_assets import finished_asset
from tests.support.api_faults import Fault
from tests.support.api_server import ApiServer
from tests.support.small_server import reply, serving

pytestmark = pytest.mark.once


class Listed:
    """Stands for a client of whose server only the usage list is asked."""

    account = Account.from_json({"key": "sk-empiriolabs-abcdefgh", "online": True}, {}, lambda _host: "")

    def __init__(self, body: bytes, status: int = 200, date: str = "") -> None:
        self._reply = Reply(status, {"Date": date}, body)

    def url(self, path: str) -> str:
        return path

    def get(self, _url: str, patience_s: float = 0.0) -> Reply:
        return self._reply


def events(*events: dict[str, Any]) -> bytes:
    return json.dumps({"balance_usd": 3.0, "events": events}).encode()


def known(body: bytes, ours: tuple[str, ...] = (), ago_s: float = 30.0, **options: Any) -> str:
    return what_is_known(Listed(body, **options), ago_s, ours)  # type: ignore[arg-type]


def test_what_the_usage_list_shows_is_told() -> None:
    now = time.time()
    event = {"created_at": now - 10, "cost_usd": 0.249, "job_id": "j1", "status_code": 202}
    assert known(events(event)) == "its usage list shows 1 request for 0.249 USD since then (j1)"
    two = events(event, {**event, "job_id": "j2"})
    assert known(two) == "its usage list shows 2 requests for 0.498 USD since then (j1, j2)"
    assert known(two, ("j2",)) == "its usage list shows 1 request for 0.249 USD since then (j1)"
    assert known(two, ("j1", "j2")) == "its usage list shows no request but those that are accounted for"
    assert known(events()) == "its usage list shows no request but those that are accounted for"
    old = events({**event, "created_at": "2026-01-02T03:04:05Z"})
    assert known(old) == "the newest other entry of its usage list is of 2026-01-02 03:04 UTC (j1)"
    for trouble in ({"body": b"<html>"}, {"body": b"{}", "status": 404}, {"body": b"[]"}):
        assert known(**trouble) == "its usage list could not be read"  # type: ignore[arg-type]


def test_times_are_by_the_servers_clock_not_by_ours() -> None:
    body = events({"created_at": 1_000_000_000, "cost_usd": 0.1, "job_id": "j1"})
    assert "since then (j1)" in known(body, date=formatdate(1_000_000_020, usegmt=True))
    assert "2001-09-09" in known(body, date=formatdate(1_000_000_900, usegmt=True))
    assert read_date("yesterday") is None


@pytest.mark.parametrize(
    "output",
    [
        {"output_urls": ["https://cdn.example/a.glb", "https://cdn.example/b.png"]},
        {"output_url": "https://cdn.example/a.glb"},
        {"outputs": [{"url": "https://cdn.example/a.glb"}]},
        {"result": {"data": [{"url": "https://cdn.example/a.glb"}]}},
        {"glb_url": "https://cdn.example/a.glb"},
    ],
)
def test_an_asset_is_found_in_the_usage_list(output: dict[str, Any]) -> None:
    other = {"job_id": "j2", "output_url": "https://cdn.example/z.glb"}
    link = find_output(Listed(events(other, {"job_id": "j1", **output})), "j1")  # type: ignore[arg-type]
    assert link is not None
    assert link.url == "https://cdn.example/a.glb"
    assert find_output(Listed(events(other)), "j1") is None  # type: ignore[arg-type]


def forget(server: ApiServer) -> str:
    """Let the server forget its one job, but for its usage list, and return the job's id."""
    (job,) = server.book.jobs.values()
    job.lost = True
    plain = server.book.usage

    def usage() -> dict[str, Any]:
        told = plain()
        told["events"][0]["output_urls"] = [server.foreign_url + server.book.link(job)]
        return told

    server.book.usage = usage  # type: ignore[method-assign]
    return job.id


def test_a_job_that_the_server_has_forgotten_is_found_in_the_usage_list(tmp_path: Path) -> None:
    """Blender was closed for longer than the server keeps a job, an hour; the asset lives for a week."""
    with ApiServer(job_s=12, scale=SCALE) as server:
        generate(server, tmp_path, name="first")
        job_id = forget(server)
        outcome = generate(server, tmp_path, name="second", remote_id=job_id)
        delivered(outcome, server)
        assert posts(server) == 1


def test_an_address_that_expired_is_found_anew_in_the_usage_list(tmp_path: Path) -> None:
    with ApiServer(job_s=12, scale=SCALE) as server:
        server.script.add(Fault("asset", "expire"), Fault("poll", "status", 404, times=-1, skip=10**6))
        original = server.book.expire

        def expire() -> None:
            original()
            if not server.book.jobs[next(iter(server.book.jobs))].lost:
                forget(server)

        server.book.expire = expire  # type: ignore[method-assign]
        delivered(generate(server, tmp_path), server)


def test_a_job_that_nothing_knows_of_any_more_is_told(tmp_path: Path) -> None:
    with ApiServer(job_s=12, scale=SCALE) as server:
        generate(server, tmp_path, name="first")
        job_id = forget(server)
        del server.book.usage
        outcome = generate(server, tmp_path, name="second", remote_id=job_id)
        assert outcome.code == "remote_job_lost"
        assert outcome.left == []


def test_a_job_that_cannot_be_looked_for_now_is_not_given_up(tmp_path: Path) -> None:
    with ApiServer(job_s=12, scale=SCALE) as server:
        generate(server, tmp_path, name="first")
        job_id = forget(server)
        server.script.add(Fault("usage", "status", 503, times=-1))
        outcome = generate(server, tmp_path, name="second", remote_id=job_id)
        assert outcome.state == "resumable"
        server.script.clear()
        delivered(generate(server, tmp_path, name="third", remote_id=job_id), server)
        assert posts(server) == 1


def test_an_answer_that_is_the_result_is_found_again_by_its_address(tmp_path: Path) -> None:
    """There is no job to ask after; what the ledger keeps is where the asset is."""
    with ApiServer("synchronous", job_s=6, scale=SCALE) as server:
        first = generate(server, tmp_path, name="first")
        (ticket,) = first.accepted
        assert Ticket.parse(ticket).link
        second = generate(server, tmp_path, name="second", remote_id=ticket)
        assert second.data == server.glb
        assert posts(server) == 1


def test_a_path_of_the_servers_own_is_kept_in_the_ledger(tmp_path: Path) -> None:
    with ApiServer("poll-elsewhere", job_s=6, scale=SCALE) as server:
        first = generate(server, tmp_path, name="first")
        (ticket,) = first.accepted
        second = generate(server, tmp_path, name="second", remote_id=ticket)
        delivered(second, server)
        assert posts(server) == 1


def test_a_lost_answer_is_told_with_the_name_of_the_job_that_it_was(tmp_path: Path) -> None:
    with ApiServer(job_s=12, scale=SCALE, faults=[Fault("create", "reset_answered")]) as server:
        outcome = generate(server, tmp_path)
        assert outcome.code == "remote_outcome_unknown"
        assert outcome.error is not None
        assert "usage list" in outcome.error.cause
        assert next(iter(server.book.jobs)) in outcome.error.cause


@pytest.mark.parametrize("answered", ["creation", "poll"])
def test_an_asset_that_is_the_answer_itself_is_taken(tmp_path: Path, answered: str) -> None:
    """A server of one's own may send the file where the API tells of it."""
    glb = finished_asset()

    def act(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "POST" and answered == "poll":
            reply(202, b'{"job_id": "j1"}')(handler)
        else:
            reply(200, glb, Content_Type="model/gltf-binary")(handler)

    with serving() as start:
        url = start(act).url
        backend = RemoteBackend(ScaledClock(SCALE))
        run = RecordedRun(backend, {"base_url": url, "online": False}, "", lambda: False)
        request = GenerationRequest.create("https://pictures.example/cat.png", "remote")
        asset = backend.generate(request, tmp_path, run)
        assert asset.glb.read_bytes() == glb
        assert asset.thumbnail is None


@pytest.mark.parametrize(
    ("text", "code"), [("lines", ""), ("damaged", "remote_asset_invalid"), ("large", "remote_asset_large")]
)
def test_an_asset_inside_the_answer_is_read_however_it_is_broken_into_lines(
    tmp_path: Path, text: str, code: str
) -> None:
    glb = finished_asset()
    inside = base64.encodebytes(glb).decode()
    inside = {"lines": inside, "damaged": inside[:-40], "large": inside}[text]
    body = json.dumps({"result": {"data": [{"b64_json": inside}]}}).encode()
    with serving() as start:
        url = start(reply(200, body)).url
        backend = RemoteBackend(ScaledClock(SCALE), Limits(asset_bytes=100 if text == "large" else 1 << 24))
        run = RecordedRun(backend, {"base_url": url, "online": False}, "", lambda: False)
        request = GenerationRequest.create("https://pictures.example/cat.png", "remote")
        try:
            assert backend.generate(request, tmp_path, run).glb.read_bytes() == glb
            found = ""
        except EspalierError as error:
            found = error.code
        assert found == code
        assert [path.name for path in tmp_path.iterdir()] == ([] if code else ["asset.glb"])
