# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that goes wrong between here and the server: the asset is delivered once, or what is known is said.

In each test a generation is asked for at most once, unless the server said that it had not taken it.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.backends.remote.backend import RemoteBackend
from engine.progress import Cancelled
from tests.engine.backends_for_tests.remote_scaled import ScaledClock
from tests.engine.remote_harness import IMPATIENT, SCALE, delivered, generate, posts
from tests.support.api_assets import finished_asset
from tests.support.api_faults import Fault
from tests.support.api_server import ApiServer

pytestmark = pytest.mark.once

SENT = ("reset_before", "reset_during", "reset_after", "reset_answered", "cut_answer", "garbage", "empty", "not_http")
PASSING = ("reset_before", "reset_answered", "cut_answer", "garbage", "empty", "not_http")
TENTHS = [tenth / 10 for tenth in range(11)]
MINUTE = 60.0


def serve(*faults: Fault, **options: Any) -> ApiServer:
    return ApiServer(**{"job_s": 12.0, "scale": SCALE, "faults": faults, **options})


# The creation.


@pytest.mark.parametrize("kind", SENT)
@pytest.mark.parametrize("form", ["documented", "no-usage"])
def test_a_creation_whose_answer_is_lost_is_not_repeated(tmp_path: Path, kind: str, form: str) -> None:
    with serve(Fault("create", kind, times=-1), form=form) as server:
        outcome = generate(server, tmp_path)
        assert posts(server) == 1
        assert server.billed == (0 if kind in SENT[:3] else 1)
        assert outcome.code == "remote_outcome_unknown"
        assert outcome.state == "unknown"
        if form == "documented":
            assert server.requests("GET", "/v1/account/usage"), "the list of usage tells what became of it"


@pytest.mark.parametrize("kind", ["gzip", "chunked"])
def test_a_creation_is_understood(tmp_path: Path, kind: str) -> None:
    with serve(Fault("create", kind)) as server:
        delivered(generate(server, tmp_path), server)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_creation_that_the_server_fails_at_is_not_repeated(tmp_path: Path, status: int) -> None:
    """Who answered with such a status, and what happened behind it, nobody can tell."""
    with serve(Fault("create", "status", status, times=-1)) as server:
        outcome = generate(server, tmp_path)
        assert outcome.error is not None
        assert outcome.state == "unknown"
        assert posts(server) == 1
        assert server.billed == 0


@pytest.mark.parametrize("retry_after", ["", "7", "date"])
def test_a_creation_that_is_too_early_is_repeated(tmp_path: Path, retry_after: str) -> None:
    clock = ScaledClock(SCALE)
    if retry_after == "date":
        retry_after = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 7))
    with serve(Fault("create", "status", 429, times=4, retry_after=retry_after)) as server:
        outcome = generate(server, tmp_path, clock=clock)
        delivered(outcome, server)
        tries = [seen.time for seen in server.requests("POST", "/v1/3d/generations")]
        assert len(tries) == 5
        if retry_after == "7":
            assert min(b - a for a, b in itertools.pairwise(tries)) >= 7.0


@pytest.mark.parametrize(("status", "billed"), [(400, 0), (401, 0), (402, 0), (403, 0), (404, 0), (413, 0), (422, 0)])
def test_a_refused_creation_is_told_at_once(tmp_path: Path, status: int, billed: int) -> None:
    with serve(Fault("create", "status", status, times=-1)) as server:
        outcome = generate(server, tmp_path)
        assert outcome.error is not None
        assert outcome.state == "failed"
        assert outcome.code != "internal"
        assert "It was told to." in outcome.told()
        assert (posts(server), server.billed) == (1, billed)


def test_a_creation_without_an_answer_ends(tmp_path: Path) -> None:
    with serve(Fault("create", "stall_answered", 300)) as server:
        start = time.monotonic()
        outcome = generate(server, tmp_path)
        assert time.monotonic() - start < 60
        assert outcome.code == "remote_outcome_unknown"
        assert outcome.state == "unknown"
        assert (posts(server), server.billed) == (1, 1)


def test_nothing_is_sent_to_a_server_that_is_not_there(tmp_path: Path) -> None:
    with serve() as server:
        server.away()
        outcome = generate(server, tmp_path)
        server.back()
        assert outcome.error is not None
        assert outcome.state == "failed"
        assert not server.seen


def test_a_server_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    class Patient(ScaledClock):
        """Brings the server back in the first pause after it could not be reached."""

        def sleep(self, seconds: float) -> None:
            if not back:
                server.back()
                back.append(seconds)
            super().sleep(seconds)

    back: list[float] = []
    with serve() as server:
        server.away()
        delivered(generate(server, tmp_path, clock=Patient(server.clock.scale)), server)
        assert back
        assert posts(server) == 1


@pytest.mark.parametrize("at", ["create", "poll"])
@pytest.mark.parametrize(
    "target", ["foreign", "self", "http://127.0.0.2:9/v1/jobs", "ftp://127.0.0.1/", "nonsense", ""]
)
def test_a_redirection_takes_the_key_nowhere(tmp_path: Path, at: str, target: str) -> None:
    with serve(Fault(at, "redirect", target, times=-1), rate=1000) as server:
        began: list[float] = []

        def cancelled() -> bool:
            if server.billed and not began:
                began.append(time.monotonic())
            return bool(began) and time.monotonic() - began[0] > 2.0

        try:
            outcome = generate(server, tmp_path, cancelled=cancelled)
        except Cancelled:
            assert at == "poll"
        else:
            assert outcome.error is not None
        assert server.billed == (0 if at == "create" else 1)
        assert posts(server) <= 10
        assert not server.leaks()


def test_a_redirection_to_the_same_server_is_followed(tmp_path: Path) -> None:
    with serve(Fault("poll", "redirect", "self", times=2), Fault("asset", "redirect", "self")) as server:
        delivered(generate(server, tmp_path), server)


# The polls.


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("kind", [*PASSING, "gzip", "chunked"])
def test_a_poll_that_goes_wrong_is_repeated(tmp_path: Path, kind: str, times: int) -> None:
    with serve(Fault("poll", kind, times=times), Fault("poll", kind, times=times, skip=times + 1)) as server:
        delivered(generate(server, tmp_path), server)
        assert posts(server) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_minute_of_trouble_passes(tmp_path: Path, status: int) -> None:
    with serve(Fault("poll", "status", status, times=-1)) as server:
        threading.Timer(MINUTE / SCALE, server.script.clear).start()
        delivered(generate(server, tmp_path), server)
        assert posts(server) == 1
        polls = [seen.time for seen in server.requests("GET", "/v1/jobs/")]
        assert len([when for when in polls if when < MINUTE]) <= 14, "backs off"


def test_retry_after_is_honored(tmp_path: Path) -> None:
    with serve(Fault("poll", "status", 429, times=3, retry_after="20")) as server:
        delivered(generate(server, tmp_path), server)
        polls = [seen.time for seen in server.requests("GET", "/v1/jobs/")]
        assert all(b - a >= 20.0 for a, b in itertools.pairwise(polls))


@pytest.mark.parametrize("kind", ["lost", "failed"])
def test_a_job_that_comes_to_nothing_is_told(tmp_path: Path, kind: str) -> None:
    with serve(Fault("poll", kind, skip=1), job_s=36_000.0) as server:
        outcome = generate(server, tmp_path)
        assert outcome.error is not None
        assert outcome.code != "internal"
        assert outcome.state == "failed"
        assert server.billed == posts(server) == 1
        assert outcome.left == []


def test_a_server_that_restarts_does_not_matter(tmp_path: Path) -> None:
    with serve() as server:

        def restart() -> None:
            server.away()
            time.sleep(0.3)
            server.back()

        threading.Timer(0.15, restart).start()
        delivered(generate(server, tmp_path), server)
        assert posts(server) == 1


def test_a_poll_that_is_never_answered_is_given_up(tmp_path: Path) -> None:
    with serve(Fault("poll", "stall_answered", 300)) as server:
        start = time.monotonic()
        delivered(generate(server, tmp_path), server)
        assert time.monotonic() - start < 60


def test_a_poll_that_drips_is_given_up(tmp_path: Path) -> None:
    with serve(Fault("poll", "slow", 0.2)) as server:
        start = time.monotonic()
        delivered(generate(server, tmp_path), server)
        assert time.monotonic() - start < 60


def test_the_clock_of_the_machine_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, begin = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: real() + (-86400.0, 86400.0)[int((time.monotonic() - begin) * 10) % 2])
    with serve(Fault("poll", "status", 503, times=2)) as server:
        start = time.monotonic()
        delivered(generate(server, tmp_path), server)
        assert time.monotonic() - start < 60


def test_a_job_is_taken_up_again_by_its_id(tmp_path: Path) -> None:
    """As after a crash: nothing is asked for again."""

    class Crash(Exception):
        pass

    def crash() -> bool:
        if server.requests("GET", "/v1/jobs/"):
            raise Crash
        return False

    with serve() as server:
        with pytest.raises(Crash):
            generate(server, tmp_path, name="first", cancelled=crash)
        (job,) = server.book.jobs
        outcome = generate(server, tmp_path, name="second", remote_id=job)
        delivered(outcome, server)
        assert posts(server) == 1
        assert "submitting" not in [what for what, _ in outcome.run.written]


# The download.


@pytest.mark.parametrize("kind", ["cut", "close"])
@pytest.mark.parametrize("fraction", TENTHS)
def test_a_download_goes_on_where_it_broke_off(tmp_path: Path, fraction: float, kind: str) -> None:
    glb = finished_asset(5, 256)
    with serve(Fault("asset", kind, fraction), glb=glb) as server:
        delivered(generate(server, tmp_path), server)
        first, *rest = server.requests("GET", "/assets/", foreign=True)
        assert "range" not in first.headers or first.headers["range"] == "bytes=0-"
        assert len(rest) <= 1
        if 0.0 < fraction < 1.0:
            start = int(rest[0].headers["range"].removeprefix("bytes=").removesuffix("-"))
            came = int(len(glb) * fraction)
            assert start <= came
            assert kind == "cut" or start == came, "all that came is kept"


def test_a_download_that_breaks_off_again_and_again(tmp_path: Path) -> None:
    glb = finished_asset(5, 256)
    with serve(Fault("asset", "close", 0.4, times=8), glb=glb) as server:
        delivered(generate(server, tmp_path), server)
        ranges = [seen.headers.get("range", "bytes=0-") for seen in server.requests("GET", "/assets/", foreign=True)]
        starts = [int(text[6:].rstrip("-")) for text in ranges]
        assert starts == sorted(set(starts)), "never fetches the same again"


@pytest.mark.parametrize("second", ["no_range", "wrong_range", "refuse_range", "changed", "gzip", "chunked"])
def test_a_server_may_not_know_how_to_go_on(tmp_path: Path, second: str) -> None:
    with serve(Fault("asset", "close", 0.5), Fault("asset", second)) as server:
        outcome = generate(server, tmp_path)
        delivered(outcome, server, finished_asset(seed=1) if second == "changed" else None)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("longer", 1000), ("shorter", 1000), ("declared", 4), ("declared", -4), ("truncated", 0.7), ("corrupt", 0)),
        *(("picture", 0), ("garbage", 0), ("empty", 0), ("not_http", 0), ("cut_answer", 0), ("reset_before", 0)),
        *(("status", 500), ("status", 503), ("status", 429), ("redirect", "self"), ("expire", 0), ("status", 404)),
        *(("gzip", 0), ("chunked", 0), ("status", 410), ("status", 403)),
    ],
)
def test_a_bad_download_is_fetched_anew(tmp_path: Path, kind: str, value: Any) -> None:
    with serve(Fault("asset", kind, value)) as server:
        outcome = generate(server, tmp_path)
        delivered(outcome, server)
        assert posts(server) == 1


@pytest.mark.parametrize("kind", ["declared", "truncated", "picture", "garbage", "empty", "status", "close"])
def test_a_download_that_stays_bad_is_told(tmp_path: Path, kind: str) -> None:
    value = {"status": 403, "truncated": 0.5, "close": 0.0}.get(kind, 4)
    with serve(Fault("asset", kind, value, times=-1)) as server:
        outcome = generate(server, tmp_path)
        assert outcome.error is not None
        assert outcome.code != "internal"
        assert outcome.state == "resumable"
        assert outcome.left == []
        assert server.billed == posts(server) == 1


@pytest.mark.parametrize("kind", ["huge", "huge_chunked"])
def test_two_gigabytes_are_not_fetched(tmp_path: Path, kind: str) -> None:
    with serve(Fault("asset", kind, 2 << 30, times=-1)) as server:
        start = time.monotonic()
        outcome = generate(server, tmp_path)
        assert outcome.code == "remote_asset_large"
        assert outcome.left == []
        assert len(server.requests("GET", "/assets/", foreign=True)) == 1
        assert time.monotonic() - start < 60


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    size = 96 << 20
    with serve(Fault("asset", "huge_gzip", size, times=-1)) as server:
        backend = RemoteBackend(ScaledClock(SCALE), replace(IMPATIENT, asset_bytes=size - 1))
        outcome = generate(server, tmp_path, backend=backend)
        assert outcome.code == "remote_asset_large"
        assert outcome.left == []
        assert len(server.requests("GET", "/assets/", foreign=True)) == 1


def test_a_download_that_drips_does_not_hold_a_cancel_up(tmp_path: Path) -> None:
    with serve(Fault("asset", "slow", 0.05, times=-1)) as server:
        begun: list[float] = []

        def cancelled() -> bool:
            if server.requests("GET", "/assets/", foreign=True) and not begun:
                begun.append(time.monotonic())
            return bool(begun) and time.monotonic() - begun[0] > 0.3

        with pytest.raises(Cancelled):
            generate(server, tmp_path, cancelled=cancelled, backend=RemoteBackend(ScaledClock(SCALE)))
        assert time.monotonic() - begun[0] < 5.0


def test_a_link_that_expired_is_asked_for_anew(tmp_path: Path) -> None:
    with serve(Fault("asset", "close", 0.5), Fault("asset", "expire")) as server:
        delivered(generate(server, tmp_path), server)
        assert len(server.requests("GET", "/assets/", foreign=True)) >= 3


@pytest.mark.parametrize("place", ["create", "poll", "asset"])
def test_a_cancel_is_heard_at_once(tmp_path: Path, place: str) -> None:
    with serve(Fault(place, "stall", 300), job_s=5.0) as server:
        begun: list[float] = []

        def cancelled() -> bool:
            reached = {"create": "submitting", "poll": "accepted"}.get(place)
            now = time.monotonic()
            if not begun and (server.billed or place == "create"):
                begun.append(now)
            return bool(begun) and now - begun[0] > (0.3 if reached else 1.0)

        start = time.monotonic()
        try:
            outcome = generate(server, tmp_path, cancelled=cancelled, backend=RemoteBackend(ScaledClock(SCALE)))
        except Cancelled:
            pass
        else:
            assert outcome.code == "remote_outcome_unknown", outcome.told()
        assert time.monotonic() - start < 10.0
