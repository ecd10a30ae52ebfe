# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs from submit to ready: in order, in parallel, cancelled, retried, imported, failed and left behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EspalierError
from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from engine.workers.launch import Launch
from engine.workers.process import Limits
from tests.engine.queue_harness import (
    drive,
    gone,
    library,
    open_queue,
    processes,
    reached,
    request,
    scripted,
    states,
    transitions,
)

pytestmark = pytest.mark.once

WAY = [State.QUEUED, State.SUBMITTING, State.RUNNING, State.FETCHING, State.READY]
Open = Callable[..., JobQueue]


def test_a_job_goes_its_way(opened: Open, tmp_path: Path) -> None:
    queue = opened(scripted("create"))
    asked = request("slow 0.3", "图片 mit Leer.png")
    job = queue.submit(asked, {"file": "场景"})
    assert queue.job(job).state is State.QUEUED
    seen = drive(queue)
    assert states(seen, job) == WAY
    done = queue.job(job)
    assert done.folder == tmp_path / "library" / job
    assert done.placement == {"file": "场景"}
    assert done.fraction == 1.0
    assert done.error is None
    assert done.created <= done.started <= done.finished <= time.time()  # type: ignore[operator]
    assert json.loads((done.folder / "request.json").read_text("utf-8")) == asked.to_json()
    assert json.loads((done.folder / "result.json").read_text("utf-8")) == done.result
    assert set(done.result["stages"]) == {"draw", "paint", "prepare"}
    assert {path.name for path in done.folder.iterdir()} == {"asset.glb", "request.json", "result.json", "import"}
    fractions = [snapshot.fraction for snapshot in seen if snapshot.state is State.RUNNING]
    assert fractions == sorted(fractions)
    assert "Drawing" in {snapshot.label for snapshot in seen}
    assert transitions(tmp_path, job) == WAY
    assert library(tmp_path) == {job}


def test_the_next_job_finds_the_worker_warm(opened: Open, tmp_path: Path) -> None:
    queue = opened(idle_s=0.6)
    queue.submit(request("quick"))
    drive(queue)
    (first,) = processes(str(tmp_path))
    queue.submit(request("quick"))
    drive(queue)
    assert processes(str(tmp_path)) == {first}
    assert queue.warm
    assert not queue.busy
    assert queue.delay_s() > 0.01
    drive(queue, until=lambda: not queue.warm)
    assert gone(str(tmp_path), within_s=0.1)


def test_many_jobs_share_four_workers(opened: Open, tmp_path: Path) -> None:
    queue = opened(slots={"draft": 4})
    jobs = [queue.submit(request("quick", f"{number}.png")) for number in range(200)]
    most = 0
    seen = []

    def watch() -> bool:
        nonlocal most
        most = max(most, sum(job.state in (State.SUBMITTING, State.RUNNING) for job in queue.jobs()))
        return not queue.busy

    seen = drive(queue, until=watch)
    assert most == 4
    assert all(queue.job(job).state is State.READY for job in jobs)
    assert library(tmp_path) == set(jobs)
    assert len(processes(str(tmp_path))) <= 4
    assert all(transitions(tmp_path, job) == WAY for job in jobs)
    order = [job.id for job in seen if job.state is State.SUBMITTING]
    assert list(dict.fromkeys(order)) == jobs  # first come, first served
    assert [job.id for job in queue.jobs()] == sorted(jobs, key=lambda j: (queue.job(j).created, j), reverse=True)


def test_slots_limit_what_runs_at_once(opened: Open) -> None:
    queue = opened()
    first, second = queue.submit(request("slow 0.4")), queue.submit(request("quick"))
    drive(queue, until=reached(queue, first, State.RUNNING))
    assert queue.job(second).state is State.QUEUED
    drive(queue, until=reached(queue, second, State.READY))
    assert queue.job(first).state is State.READY


@pytest.mark.parametrize("stage", ["at once", "queued", "submitting", "loading", "running", "stuck"])
def test_cancel_at_every_stage(opened: Open, tmp_path: Path, stage: str) -> None:
    queue = opened(scripted("create_slowly") if stage == "loading" else None)
    blocker = queue.submit(request("slow 0.8")) if stage == "queued" else None
    job = queue.submit(request("stuck 60" if stage == "stuck" else "slow 60"))
    if stage == "queued":
        drive(queue, until=reached(queue, blocker, State.RUNNING))
    elif stage in ("submitting", "loading"):
        drive(queue, until=reached(queue, job, State.SUBMITTING))
    elif stage in ("running", "stuck"):
        drive(queue, until=lambda: queue.job(job).stage == "draw")
    start = time.monotonic()
    queue.cancel(job)
    queue.cancel(job)  # twice does no harm
    assert time.monotonic() - start < 0.25
    assert queue.job(job).cancelling or queue.job(job).state is State.CANCELLED
    seen = drive(queue)
    assert queue.job(job).state is State.CANCELLED
    assert not queue.job(job).cancelling
    assert State.READY not in states(seen, job)
    assert transitions(tmp_path, job)[-1] == "cancelled"
    if blocker:
        assert queue.job(blocker).state is State.READY
        queue.cancel(job)
    assert library(tmp_path) == ({blocker} if blocker else set())
    following = queue.submit(request("quick"))
    drive(queue)
    assert queue.job(following).state is State.READY


@pytest.mark.parametrize("when", ["before-commit", "after-act"])
@pytest.mark.parametrize("state", ["queued", "submitting", "running", "fetching", "ready"])
def test_cancel_during_every_transition(opened: Open, tmp_path: Path, state: str, when: str) -> None:
    """Cancel while the transition is on its way, at the next moment when the main thread could."""
    passed: list[str] = []
    queue = opened(trace=passed.append)
    job = queue.submit(request("slow 0.2"))
    drive(queue, until=lambda: f"{when} {state}" in passed)
    if queue.job(job).state is State.READY:
        with pytest.raises(EspalierError) as caught:
            queue.cancel(job)
        assert caught.value.code == "job_state"
    else:
        queue.cancel(job)
    drive(queue)
    found = queue.job(job).state
    assert found is State.CANCELLED or (found is State.READY and state in ("fetching", "ready"))
    assert library(tmp_path) == ({job} if found is State.READY else set())
    assert transitions(tmp_path, job)[-1] == found


def test_what_was_cancelled_can_be_run_again(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    job = queue.submit(request("slow 0.5"))
    drive(queue, until=lambda: queue.job(job).stage == "draw")
    queue.cancel(job)
    drive(queue)
    queue.retry(job)
    assert queue.job(job).state is State.QUEUED
    drive(queue)
    done = queue.job(job)
    assert done.state is State.READY
    assert done.runs == 2
    assert done.result["facts"]["attempt"].endswith("-2.partial")
    assert transitions(tmp_path, job) == [*WAY[:3], "cancelled", *WAY]


def test_acts_that_make_no_sense_are_refused(opened: Open) -> None:
    queue = opened()
    job = queue.submit(request("quick"))
    for act in (queue.retry, queue.mark_imported):
        with pytest.raises(EspalierError) as caught:
            act(job)
        assert caught.value.code == "job_state"
    drive(queue)
    for act in (queue.retry, queue.cancel):
        with pytest.raises(EspalierError) as caught:
            act(job)
        assert caught.value.code == "job_state"
    for act in (queue.retry, queue.cancel, queue.mark_imported, queue.job):
        with pytest.raises(EspalierError) as caught:
            act("no such job")
        assert caught.value.code == "job_unknown"
    assert queue.job(job).state is State.READY


def test_a_result_is_imported_once_or_given_up(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    job, other = queue.submit(request("quick")), queue.submit(request("quick"))
    drive(queue)
    queue.mark_imported(job)
    assert queue.job(job).state is State.IMPORTED  # at once, lest it be imported twice
    with pytest.raises(EspalierError) as caught:
        queue.mark_imported(job)
    assert caught.value.code == "job_state"
    assert queue.busy
    queue.mark_failed(other, EspalierError("asset_missing", name="it"))
    drive(queue)
    assert transitions(tmp_path, job) == [*WAY, "imported"]
    assert queue.job(job).folder == tmp_path / "library" / job
    assert queue.job(other).state is State.FAILED
    assert queue.job(other).error.code == "asset_missing"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("killed", "worker_died"),
        ("garbles 60", "worker_garbled"),
        ("stopped", "worker_silent"),
        ("memory", "memory_full"),
        ("full", "disk_full"),
        ("busy_background", "background_busy"),
    ],
)
def test_a_failure_is_the_jobs_alone(opened: Open, tmp_path: Path, script: str, code: str) -> None:
    queue = opened(limits=Limits(silent_s=2.0 if script == "stopped" else 120.0, cancel_s=0.3, terminate_s=0.3))
    job, following = queue.submit(request(script)), queue.submit(request("quick"))
    drive(queue)
    failed = queue.job(job)
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert failed.error.code == code
    assert failed.finished is not None
    assert queue.job(following).state is State.READY
    assert library(tmp_path) == {following}
    queue.retry(job)
    assert queue.job(job).error is None
    queue.cancel(job)
    drive(queue)


@pytest.mark.parametrize(
    ("create", "code"),
    [("create_never", "module_missing"), ("create_dying", "worker_start"), ("nothing", "worker_start")],
)
def test_an_engine_that_does_not_start_fails_each_job_once(opened: Open, create: str, code: str) -> None:
    queue = opened(scripted(create))
    jobs = [queue.submit(request("quick")) for _ in range(3)]
    drive(queue)
    for job in jobs:
        error = queue.job(job).error
        assert error is not None
        assert error.code == code


def test_a_request_too_long_for_a_message_fails_alone(opened: Open) -> None:
    queue = opened()
    job, following = queue.submit(request("很" * 500_000)), queue.submit(request("quick " + " " * 20_000))
    drive(queue)
    assert queue.job(job).error.code == "request_invalid"  # type: ignore[union-attr]
    assert queue.job(following).state is State.READY


def test_a_launch_that_fails_fails_the_job(opened: Open, tmp_path: Path) -> None:
    def launch(engine: str) -> Launch:
        raise EspalierError("python_missing")

    queue = JobQueue(tmp_path, launch)
    job = queue.submit(request("quick"))
    drive(queue)
    assert queue.job(job).error.code == "python_missing"  # type: ignore[union-attr]
    queue.close()


def test_a_worker_that_died_while_it_waited_is_replaced(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    queue.submit(request("quick"))
    drive(queue)
    worker = queue._pool.workers[0]
    worker.kill()
    assert gone(str(tmp_path))
    job = queue.submit(request("quick"))
    drive(queue)
    assert queue.job(job).state is State.READY


@pytest.mark.parametrize("name", ["file where the folder should be", "no permission"])
def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, name: str, monkeypatch: Any) -> None:
    root = tmp_path / "root"
    if name == "no permission":

        def refuse(*args: Any, **options: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        root.write_text("in the way")
    with pytest.raises(EspalierError) as caught:
        open_queue(root)
    assert caught.value.code == "output_unwritable"
    assert str(root) in caught.value.cause


def test_a_library_that_disappears_fails_the_job(opened: Open, tmp_path: Path) -> None:
    queue = opened()
    queue.submit(request("quick"))
    drive(queue)
    (tmp_path / "library").rename(tmp_path / "elsewhere")
    (tmp_path / "library").write_text("in the way")
    job = queue.submit(request("quick"))
    drive(queue)
    assert queue.job(job).state is State.FAILED
    (tmp_path / "library").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "library")
    queue.retry(job)
    drive(queue)
    assert queue.job(job).state is State.READY


def test_a_closed_queue_takes_no_jobs(opened: Open) -> None:
    queue = opened()
    queue.close()
    queue.close()
    with pytest.raises(RuntimeError):
        queue.submit(request("quick"))


@pytest.mark.parametrize(
    ("create", "script", "count", "options"),
    [
        ("create_light", "slow 0.5", 8, {"slots": {"draft": 4}}),
        ("create_many", "orders 1", 100, {"slots": {"draft": 128}, "room": {"draft": 64}, "free": frozenset()}),
    ],
)
def test_steps_are_short(opened: Open, create: str, script: str, count: int, options: dict[str, Any]) -> None:
    """The budget of a tick, roughly, on a machine that does other things as well; `bench_tick.py` measures it."""
    queue = opened(scripted(create), **options)
    for _ in range(count):
        queue.submit(request(script))
    took = []
    while queue.busy:
        start = time.thread_time()
        queue.step()
        took.append(time.thread_time() - start)
        time.sleep(0.01)
    took.sort()
    assert took[int(len(took) * 0.99)] < 0.005
