# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that a server bills: nothing is ordered twice unasked, nothing paid for is lost, and nobody is misled."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EspalierError
from engine.jobs import foreman
from engine.jobs import queue as queue_module
from engine.jobs.job import Job, State
from engine.jobs.queue import JobQueue
from engine.workers.launch import Launch
from tests.engine.queue_harness import drive, library, reached, request, scripted, transitions

pytestmark = pytest.mark.once

Open = Callable[..., JobQueue]
PAID: dict[str, Any] = {"free": frozenset()}


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., Launch]:
    """Return the launch of a worker, and where it dies, if it is to."""

    def launch(die: str = "", once: bool = True, create: str = "create_light") -> Launch:
        where = f"{die} {tmp_path / 'died'}" if once else die
        return scripted(create, ESPALIER_TEST_PAID=str(tmp_path / "paid"), ESPALIER_TEST_DIE=where)

    return launch


def paid(root: Path) -> list[str]:
    path = root / "paid"
    return path.read_text().split() if path.exists() else []


def code(job: Job) -> str:
    return job.error.code if job.error is not None else ""


def ledger_row(root: Path, job: str) -> tuple[str, str, str]:
    connection = sqlite3.connect(root / "ledger.sqlite3")
    try:
        row = connection.execute("SELECT state, remote_id, digest FROM jobs WHERE id = ?", (job,)).fetchone()
    finally:
        connection.close()
    return row  # type: ignore[no-any-return]


def test_what_a_server_is_told_is_written_before(opened: Open, launch: Any, tmp_path: Path) -> None:
    passed: list[str] = []
    seen: dict[str, Any] = {}

    def trace(point: str) -> None:
        passed.append(point)
        seen[point] = paid(tmp_path)

    queue = opened(launch(), trace=trace, **PAID)
    job = queue.submit(request("orders 0.1", "cup"))
    drive(queue)
    done = queue.job(job)
    assert done.state is State.READY
    assert done.remote_id == "r-cup"
    assert len(done.digest) == 64
    assert ledger_row(tmp_path, job) == ("ready", "r-cup", done.digest)
    order = [point for point in passed if point.split()[1] in ("digest", "remote_id", "fetching")]
    assert order == [
        f"{when} {point}"
        for point in ("digest", "remote_id", "fetching")
        for when in ("before-commit", "after-commit", "before-act", "after-act")
    ]
    assert seen["before-act digest"] == []  # nothing was ordered before it was written
    assert transitions(tmp_path, job) == ["queued", "submitting", *["running"] * 3, "fetching", "ready"]


@pytest.mark.parametrize(
    ("point", "state", "orders"),
    [
        ("begun", State.READY, 1),
        ("written", State.UNKNOWN, 0),
        ("posted", State.UNKNOWN, 1),
        ("accepted", State.READY, 1),
        ("polling", State.READY, 1),
        ("fetched", State.READY, 1),
    ],
)
def test_a_worker_that_is_killed(
    opened: Open, launch: Any, tmp_path: Path, point: str, state: State, orders: int
) -> None:
    queue = opened(launch(point), **PAID)
    job = queue.submit(request("orders 0.1", "cup"))
    drive(queue)
    found = queue.job(job)
    assert found.state is state
    assert len(paid(tmp_path)) == orders
    assert (tmp_path / "died").exists()
    if state is State.UNKNOWN:
        assert code(found) == "job_contact_lost"
        assert "SIGKILL" in found.error.detail  # type: ignore[union-attr]
        assert library(tmp_path) == set()
        queue.retry(job)  # the person has found out that it may be ordered
        drive(queue)
        assert queue.job(job).state is State.READY
    else:
        assert found.runs == 2
        assert found.error is None


def test_a_job_that_kills_its_workers_is_given_up_but_not_lost(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch("polling", once=False), **PAID)
    job = queue.submit(request("orders", "cup"))
    drive(queue)
    found = queue.job(job)
    assert (found.state, found.attempts, found.remote_id) == (State.FAILED, 3, "r-cup")
    assert code(found) == "worker_died"
    assert paid(tmp_path) == ["cup"]
    queue.close()
    healthy = opened(launch(), **PAID)
    healthy.retry(job)
    drive(healthy)
    assert healthy.job(job).server == healthy.job(job).result["facts"]["server"] == "the shop"
    assert healthy.job(job).state is State.READY
    assert healthy.job(job).result["facts"]["remote_id"] == "r-cup"
    assert paid(tmp_path) == ["cup"]


def test_one_that_never_gets_as_far_as_sending_fails_in_the_end(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch("begun", once=False), **PAID)
    job = queue.submit(request("orders", "cup"))
    drive(queue)
    assert queue.job(job).state is State.FAILED
    assert code(queue.job(job)) == "worker_died"
    assert queue.job(job).attempts == 3
    assert paid(tmp_path) == []


def test_what_somebody_finds_at_the_server_is_fetched(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch("posted"), **PAID)
    job = queue.submit(request("orders", "cup"))
    drive(queue)
    assert queue.job(job).state is State.UNKNOWN
    assert queue.spent().all == 0.0
    queue.retry(job, "r-cup")
    drive(queue)
    done = queue.job(job)
    assert (done.state, done.remote_id, done.server) == (State.READY, "r-cup", "the shop")
    assert ledger_row(tmp_path, job)[:2] == ("ready", "r-cup")
    assert paid(tmp_path) == ["cup"]
    assert queue.spent().all == 0.25


def test_a_refusal_is_a_failure_and_a_breakdown_is_not_known(opened: Open, launch: Any) -> None:
    queue = opened(launch(), **PAID)
    refused, broken = queue.submit(request("refused")), queue.submit(request("bug_in_post"))
    drive(queue)
    assert queue.job(refused).state is State.FAILED
    assert code(queue.job(refused)) == "background_busy"
    assert queue.job(refused).digest == ""
    assert queue.job(broken).state is State.UNKNOWN
    assert code(queue.job(broken)) == "job_contact_lost"
    assert "a bug of the engine" in queue.job(broken).error.detail  # type: ignore[union-attr]


def test_retry_asks_after_what_is_paid_for_and_orders_only_what_is_over(
    opened: Open, launch: Any, tmp_path: Path
) -> None:
    queue = opened(launch(), **PAID)
    job = queue.submit(request("gone", "cup"))
    drive(queue)
    found = queue.job(job)
    assert (found.state, code(found), found.remote_id) == (State.FAILED, "disk_full", "r-cup")
    queue.retry(job)
    drive(queue)
    found = queue.job(job)
    assert (found.state, code(found), found.remote_id) == (State.FAILED, "background_busy", "")
    assert "r-cup" in found.error.detail  # type: ignore[union-attr]
    assert paid(tmp_path) == ["cup"]
    queue.retry(job)
    drive(queue)
    assert paid(tmp_path) == ["cup", "cup"]
    assert ledger_row(tmp_path, job)[:2] == ("failed", "r-cup")


def test_cancel_says_what_may_be_billed(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch(create="create_many"), slots={"draft": 8}, room={"draft": 8}, **PAID)
    known, blind = queue.submit(request("orders 0.6", "known")), queue.submit(request("posts 60", "blind"))
    unsent = queue.submit(request("slow 60", "unsent"))
    drive(queue, until=lambda: len(paid(tmp_path)) == 2 and queue.job(known).remote_id != "")
    drive(queue, until=lambda: queue.job(unsent).stage == "draw")
    for job in (known, blind, unsent):
        start = time.monotonic()
        queue.cancel(job)
        assert time.monotonic() - start < 0.25
    drive(queue)
    assert all(queue.job(job).state is State.CANCELLED for job in (known, blind, unsent))
    assert [code(queue.job(job)) for job in (known, blind, unsent)] == ["job_cancelled_late", "job_cancelled_blind", ""]
    queue.retry(known)
    drive(queue)
    assert queue.job(known).state is State.READY
    assert paid(tmp_path).count("known") == 1


def test_what_waits_to_be_asked_after_is_cancelled_at_once(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch(), slots={"draft": 2}, **PAID)
    jobs = [queue.submit(request("orders 60", name)) for name in ("one", "two")]
    drive(queue, until=lambda: all(queue.job(job).remote_id for job in jobs))
    drive(queue, until=lambda: not queue._book.unsettled)
    queue.close()
    again = opened(launch(), slots={"draft": 1}, **PAID)
    assert [job.state for job in again.resume()] == [State.RUNNING, State.RUNNING]
    drive(again, until=lambda: again.job(jobs[0]).stage == "draw")
    again.cancel(jobs[1])
    assert again.job(jobs[1]).state is State.CANCELLED
    assert code(again.job(jobs[1])) == "job_cancelled_late"
    again.cancel(jobs[0])
    drive(again)


@pytest.mark.parametrize(("seconds", "patience", "state"), [(0.5, 3.0, State.READY), (60.0, 0.3, State.UNKNOWN)])
def test_an_orderly_end_waits_a_little_for_the_servers_answer(
    opened: Open, launch: Any, tmp_path: Path, monkeypatch: Any, seconds: float, patience: float, state: State
) -> None:
    monkeypatch.setattr(queue_module, "_ANSWERED_S", patience)
    queue = opened(launch(), **PAID)
    job, waiting = queue.submit(request(f"posts {seconds}", "cup")), queue.submit(request("orders", "waiting"))
    drive(queue, until=lambda: paid(tmp_path) == ["cup"])
    queue.close()
    known = state is State.READY
    assert ledger_row(tmp_path, job)[:2] == ("running", "r-cup" if known else "")
    again = opened(launch(), **PAID)
    resumed = {found.id: found.state for found in again.resume()}
    assert resumed[job] in ((State.RUNNING, State.FETCHING) if known else (State.UNKNOWN,))
    assert resumed[waiting] is State.QUEUED
    drive(again)
    assert again.job(job).state is state
    assert code(again.job(job)) == ("" if known else "job_outcome_unknown")
    assert sorted(paid(tmp_path)) == ["cup", "waiting"]


def test_what_was_not_sent_before_an_orderly_end_begins_anew(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch(), **PAID)
    job = queue.submit(request("slow 0.5", "cup"))
    drive(queue, until=lambda: queue.job(job).stage == "draw")
    queue.close()
    again = opened(launch(), **PAID)
    assert [found.state for found in again.resume()] == [State.QUEUED]
    drive(again)
    assert again.job(job).state is State.READY
    assert again.job(job).attempts == 1


class Stubborn:
    """A ledger's `move` that fails some times at one point, as it does while the disk is full."""

    def __init__(self, queue: JobQueue, point: str, times: int) -> None:
        self._move, self._point, self.left = queue._ledger.move, point, times
        queue._ledger.move = self  # type: ignore[method-assign,assignment]

    def __call__(self, move: Any) -> Future[bool]:
        if move.point != self._point or self.left == 0:
            return self._move(move)
        self.left -= 1
        future: Future[bool] = Future()
        future.set_exception(EspalierError("disk_full", path="ledger"))
        return future


def test_a_servers_answer_that_cannot_be_written_is_not_lost(
    opened: Open, launch: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(foreman, "_WRITE_AGAIN_S", 0.1)
    queue = opened(launch(), **PAID)
    stubborn = Stubborn(queue, "remote_id", 3)
    job = queue.submit(request("orders 0.1", "cup"))
    seen = drive(queue)
    assert stubborn.left == 0
    assert queue.job(job).state is State.READY
    assert ledger_row(tmp_path, job)[:2] == ("ready", "r-cup")
    assert paid(tmp_path) == ["cup"]
    assert any("full" in snapshot.note for snapshot in seen)


def test_a_servers_answer_that_could_not_be_written_survives_the_end(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch(), **PAID)
    stubborn = Stubborn(queue, "remote_id", 1)
    job = queue.submit(request("orders 60", "cup"))
    drive(queue, until=lambda: stubborn.left == 0 and not queue._book.unsettled)
    assert ledger_row(tmp_path, job)[1] == ""
    queue.close()
    assert ledger_row(tmp_path, job)[:2] == ("running", "r-cup")
    again = opened(launch(), **PAID)
    assert [found.state for found in again.resume()] == [State.RUNNING]
    again.cancel(job)
    drive(again)
    assert paid(tmp_path) == ["cup"]


def test_nothing_is_sent_that_cannot_be_written(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch(), **PAID)
    stubborn = Stubborn(queue, "digest", 1)
    job, following = queue.submit(request("orders", "cup")), queue.submit(request("orders", "next"))
    drive(queue)
    assert stubborn.left == 0
    assert queue.job(job).state is State.FAILED
    assert code(queue.job(job)) == "disk_full"
    assert queue.job(following).state is State.READY
    assert paid(tmp_path) == ["next"]
    queue.retry(job)
    drive(queue)
    assert queue.job(job).state is State.READY
    assert sorted(paid(tmp_path)) == ["cup", "next"]


def test_what_was_billed_is_counted_once(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch(), **PAID)
    jobs = [queue.submit(request("orders", name)) for name in ("one", "two", "three")]
    drive(queue)
    assert (queue.spent().session, queue.spent().all) == (0.75, 0.75)
    queue.mark_imported(jobs[0])
    queue.mark_failed(jobs[1], EspalierError("asset_missing", name="two"))
    drive(queue)
    queue.retry(jobs[1])  # fetched again, not ordered again
    drive(queue)
    assert queue.job(jobs[1]).state is State.READY
    assert sorted(paid(tmp_path)) == ["one", "three", "two"]
    assert queue.spent().all == 0.75
    queue.close()
    again = opened(launch(), **PAID)
    again.submit(request("orders", "four"))
    drive(again)
    assert (again.spent().session, again.spent().all) == (0.25, 1.0)


def test_a_worker_is_told_how_long_such_jobs_took(opened: Open, launch: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(foreman, "_LOOK_AGAIN_S", 0.0)
    queue = opened(launch(), **PAID)
    for _ in range(3):
        queue.submit(request("orders 0.3"))
    drive(queue)
    job = queue.submit(request("orders"))
    drive(queue)
    expected = queue.job(job).result["facts"]["expected_s"]
    assert set(expected) == {"draw", "paint", "prepare"}
    assert 0.3 <= expected["draw"] < 1.5


def test_free_work_is_not_asked_after(opened: Open, launch: Any, tmp_path: Path) -> None:
    queue = opened(launch("begun"))
    job = queue.submit(request("orders"))
    drive(queue)
    assert queue.job(job).state is State.FAILED
    assert reached(queue, job, State.FAILED)()
