# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that another queue left behind, and those that two queues see at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from tests.engine.queue_harness import drive, gone, library, reached, request, scripted, transitions

Open = Callable[..., JobQueue]


def test_what_was_left_behind_is_resumed(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    ready = queue.submit(request("quick"))
    drive(queue)
    running, waiting = queue.submit(request("slow 0.6")), queue.submit(request("quick"))
    drive(queue, until=lambda: queue.job(running).stage == "draw")
    queue.close()
    assert gone(str(tmp_path))
    assert library(tmp_path) == {ready}

    again = opened()
    assert [job.id for job in again.jobs()] == [ready]
    assert {job.id for job in again.resume()} == {running, waiting}
    assert again.resume() == []
    drive(again)
    assert all(again.job(job).state is State.READY for job in (ready, running, waiting))
    assert again.job(running).attempts == 1  # an orderly end is not counted
    assert again.job(running).runs == 2


def test_a_job_that_was_being_cancelled_is_not_resumed(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    job = queue.submit(request("stuck 60"))
    drive(queue, until=lambda: queue.job(job).stage == "draw")
    queue.cancel(job)
    queue.close()
    again = opened()
    assert again.resume() == []
    assert again.job(job).state is State.CANCELLED


def test_jobs_of_the_living_are_left_alone(opened: Open) -> None:
    first, second = opened(), opened()
    job = first.submit(request("slow 0.5"))
    drive(first, until=reached(first, job, State.RUNNING))
    assert second.resume() == []
    assert second.jobs() == []
    drive(first)
    assert first.job(job).state is State.READY


def test_two_queues_that_act_on_one_finished_job_agree(opened: Open, tmp_path: Path) -> None:
    first = opened()
    job = first.submit(request("quick"))
    drive(first)
    second = opened()
    first.mark_imported(job)
    drive(first)
    second.mark_imported(job)  # which it does not know yet
    drive(second)
    assert second.job(job).state is State.IMPORTED
    assert transitions(tmp_path, job).count("imported") == 1


def test_paid_work_without_an_id_is_unknown_and_with_one_is_asked_after(opened: Open, tmp_path: Path) -> None:
    paid = tmp_path / "paid"
    launch = scripted(ESPALIER_TEST_PAID=str(paid))
    queue = opened(launch, free=frozenset())
    names = ("blind", "known", "unsent")
    blind, known, unsent = (queue.submit(request("orders", name)) for name in names)
    queue.close()
    ledger = sqlite3.connect(tmp_path / "ledger.sqlite3")
    with ledger:
        ledger.execute("UPDATE jobs SET state = 'running', runs = 1")
        ledger.execute("UPDATE jobs SET digest = 'd' WHERE id = ?", (blind,))
        ledger.execute("UPDATE jobs SET digest = 'd', remote_id = 'r-7' WHERE id = ?", (known,))
    ledger.close()

    again = opened(launch, free=frozenset())
    found = {job.id: job.state for job in again.resume()}
    assert found == {blind: State.UNKNOWN, known: State.RUNNING, unsent: State.QUEUED}
    assert again.job(blind).error.code == "job_outcome_unknown"  # type: ignore[union-attr]
    drive(again)
    assert again.job(known).state is State.READY
    assert again.job(known).result["facts"]["remote_id"] == "r-7"
    assert again.job(unsent).state is State.READY
    assert paid.read_text().split() == ["unsent"]
    again.retry(blind)
    assert again.job(blind).state is State.QUEUED
    again.cancel(blind)
    drive(again)


def test_an_asset_is_never_deleted(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    job = queue.submit(request("quick"))
    drive(queue)
    stranger = tmp_path / "library" / "a stranger's folder"
    stranger.mkdir()
    queue.close()
    for _ in range(2):
        again = opened()
        again.resume()
        drive(again)
        again.close()
    assert library(tmp_path) == {job, stranger.name}
