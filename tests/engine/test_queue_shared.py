# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers that have many jobs at once, the account that they are given, and questions beside the jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EspalierError
from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from tests.engine.queue_harness import drive, library, processes, request, scripted

pytestmark = pytest.mark.once

Open = Callable[..., JobQueue]
MANY: dict[str, Any] = {"slots": {"draft": 16}, "room": {"draft": 8}, "free": frozenset()}
KEY = "sk-empiriolabs-0123456789abcdef"


def test_jobs_share_workers(opened: Open, tmp_path: Path) -> None:
    queue = opened(scripted("create_many"), **MANY)
    jobs = [queue.submit(request("orders 0.5", f"{number}.png")) for number in range(48)]
    most = 0

    def watch() -> bool:
        nonlocal most
        most = max(most, sum(job.state is State.RUNNING and bool(job.remote_id) for job in queue.jobs()))
        return not queue.busy

    start = time.monotonic()
    drive(queue, until=watch)
    took = time.monotonic() - start
    assert all(queue.job(job).state is State.READY for job in jobs)
    assert library(tmp_path) == set(jobs)
    assert most > 8
    assert len(processes(str(tmp_path))) == 2
    assert took < 48 * 0.5 / 2  # they did not wait for each other


def test_without_threads_there_is_one_job_after_the_other(opened: Open) -> None:
    queue = opened(scripted("create_without_threads"), **MANY)
    jobs = [queue.submit(request("orders 0.1", f"{number}.png")) for number in range(3)]
    assert isinstance(answer(queue, "account"), dict)
    drive(queue)
    assert all(queue.job(job).state is State.READY for job in jobs)


def test_a_stuck_one_does_not_take_the_others_along(opened: Open, tmp_path: Path) -> None:
    queue = opened(scripted("create_many"), **MANY)
    others = [queue.submit(request("orders 2", f"{number}.png")) for number in range(3)]
    stuck = queue.submit(request("deaf 4", "stuck.png"))
    drive(queue, until=lambda: bool(queue.job(stuck).remote_id))
    (worker,) = queue._pool.workers
    start = time.monotonic()
    queue.cancel(stuck)
    drive(queue, until=lambda: queue.job(stuck).state is State.CANCELLED)
    assert time.monotonic() - start < 3.5
    queue.retry(stuck)  # the thread that is stuck in the old run is not mistaken for the new one
    queue.cancel(stuck)
    drive(queue)
    assert all(queue.job(job).state is State.READY for job in others)
    assert all(queue.job(job).runs == 1 for job in others)
    assert worker in queue._pool.workers
    time.sleep(max(0.0, 4.5 - (time.monotonic() - start)))
    job = queue.submit(request("quick"))
    drive(queue)
    assert queue.job(job).state is State.READY


def test_a_killed_worker_is_replaced_for_all_its_jobs(opened: Open, tmp_path: Path) -> None:
    paid = tmp_path / "paid"
    queue = opened(scripted("create_many", ESPALIER_TEST_PAID=str(paid)), **MANY)
    jobs = [queue.submit(request("orders 1", f"{number}")) for number in range(8)]
    drive(queue, until=lambda: all(queue.job(job).remote_id for job in jobs))
    drive(queue, until=lambda: not queue._book.unsettled)
    queue._pool.workers[0].kill()
    drive(queue)
    assert all(queue.job(job).state is State.READY for job in jobs)
    assert all(queue.job(job).runs == 2 for job in jobs)
    assert sorted(paid.read_text().split()) == [str(number) for number in range(8)]


def test_memory_that_ran_out_costs_the_others_nothing(opened: Open, tmp_path: Path) -> None:
    queue = opened(scripted("create_many"), **MANY)
    other = queue.submit(request("orders 1"))
    drive(queue, until=lambda: bool(queue.job(other).remote_id))
    (worker,) = queue._pool.workers
    full = queue.submit(request("memory"))
    drive(queue, until=lambda: queue.job(full).state is State.FAILED)
    following = queue.submit(request("quick"))
    drive(queue)
    assert queue.job(other).state is State.READY
    assert queue.job(other).runs == 1
    assert queue.job(following).state is State.READY
    drive(queue, until=lambda: worker.ended)


def test_the_account_is_asked_for_at_each_handover_and_kept_nowhere(opened: Open, tmp_path: Path) -> None:
    asked: list[str] = []

    def account(engine: str) -> Mapping[str, Any]:
        asked.append(engine)
        return {"key": KEY, "base_url": "https://api.example.com"}

    queue = opened(scripted("create_many"), account=account, **MANY)
    job, failing = queue.submit(request("orders")), queue.submit(request("bug"))
    drive(queue)
    assert asked == ["draft", "draft"]
    assert queue.job(job).result["facts"]["account"] == ["base_url", "key"]
    assert queue.job(failing).state is State.FAILED
    queue.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"ledger.sqlite3", "result.json", "draft.log"} <= {path.name for path in files}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_an_account_that_cannot_be_had_fails_the_job_alone(opened: Open, tmp_path: Path) -> None:
    allowed = False

    def account(engine: str) -> Mapping[str, Any]:
        if not allowed:
            raise EspalierError("image_none")
        return {}

    queue = opened(scripted(), account=account, free=frozenset())
    job = queue.submit(request("orders"))
    question = queue.ask("draft", "account")
    drive(queue)
    assert queue.job(job).error.code == "image_none"  # type: ignore[union-attr]
    answer = queue.answers()[question]
    assert isinstance(answer, EspalierError)
    assert answer.code == "image_none"
    allowed = True
    queue.retry(job)
    drive(queue)
    assert queue.job(job).state is State.READY


def answer(queue: JobQueue, question: str, engine: str = "draft") -> dict[str, Any] | EspalierError:
    """Ask, and drive the queue until it has the answer."""
    name = queue.ask(engine, question)
    found: dict[str, Any] = {}

    def answered() -> bool:
        found.update(queue.answers())
        return name in found

    drive(queue, until=answered)
    assert set(found) == {name}
    assert queue.answers() == {}
    return found[name]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("question", "code"), [("fail", "background_busy"), ("bug", "internal"), ("die", "worker_died")]
)
def test_questions_are_answered_one_way_or_the_other(opened: Open, question: str, code: str) -> None:
    queue = opened(account=lambda engine: {"key": KEY})
    good = answer(queue, "account")
    assert isinstance(good, dict)
    assert (good["question"], good["account"]) == ("account", ["key"])
    bad = answer(queue, question)
    assert isinstance(bad, EspalierError)
    assert bad.code == code
    assert isinstance(answer(queue, "account"), dict)
    assert not queue.busy


def test_an_engine_that_cannot_start_or_answer_says_so(opened: Open) -> None:
    found = answer(opened(scripted("create_never")), "account")
    assert isinstance(found, EspalierError)
    assert found.code == "module_missing"
    from engine.workers.launch import current_launch

    found = answer(opened(current_launch()), "account")
    assert isinstance(found, EspalierError)
    assert found.code == "question_unanswered"


def test_questions_do_not_wait_for_jobs_nor_jobs_for_questions(opened: Open) -> None:
    queue = opened(scripted("create_many"), **MANY)
    job = queue.submit(request("orders 60"))
    drive(queue, until=lambda: bool(queue.job(job).remote_id))
    (worker,) = queue._pool.workers
    found = answer(queue, "account")
    assert isinstance(found, dict)
    assert found["pid"] == worker.pid
    queue.ask("draft", "wait")
    other = queue.submit(request("quick"))
    drive(queue, until=lambda: queue.job(other).state is State.READY)
    queue.cancel(job)
    drive(queue)


def test_a_worker_with_a_question_is_not_idle(opened: Open) -> None:
    queue = opened(idle_s=0.2)
    name = queue.ask("draft", "wait")
    end = time.monotonic() + 1.5
    drive(queue, until=lambda: time.monotonic() > end)
    (worker,) = queue._pool.workers
    assert not worker.idle
    assert queue.answers() == {}
    worker.stop()
    drive(queue, until=lambda: not queue.warm)
    assert set(queue.answers()) == {name}
