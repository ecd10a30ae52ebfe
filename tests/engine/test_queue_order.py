# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of jobs that wait: its order is on the disk, and engines do not stand in each other's way."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EspalierError
from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from tests.engine.queue_harness import ROOT, drive, open_queue, reached, request, scripted
from tests.support.waiting import PATIENCE_S

CLOSED = {"draft": 0, "trellis2": 0}
"""Slots of a queue that hands nothing over."""
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.engine.queue_harness import drive, open_queue, request
point = sys.argv[3]
def trace(passed):
    if passed == point:
        os.kill(os.getpid(), signal.SIGKILL)
queue = open_queue(Path(sys.argv[2]), slots={"draft": 0}, trace=trace)
jobs = [queue.submit(request("quick", f"picture {number}")) for number in range(3)]
drive(queue, lambda: not queue._book.writing)
queue.move_up(jobs[2])
drive(queue, lambda: not queue._book.writing)
os.kill(os.getpid(), signal.SIGKILL)
"""


def line(queue: JobQueue) -> list[str]:
    """Return the images of the jobs that wait, in their order."""
    waiting = [job for job in queue.jobs() if job.state is State.QUEUED]
    return [Path(job.request.origin).name for job in sorted(waiting, key=lambda job: job.turn)]


def settle(queue: JobQueue) -> None:
    """Step until what was decided is written."""
    drive(queue, lambda: not queue._book.writing)


def fill(queue: JobQueue, *images: str, engine: str = "draft") -> list[str]:
    return [queue.submit(request("quick", image, engine)) for image in images]


def reopened(root: Path, queue: JobQueue, **options: Any) -> JobQueue:
    """Close `queue` and return the next one, which has taken its jobs up."""
    queue.close()
    following = open_queue(root, **options)
    following.resume()
    return following


def test_a_job_moves_up_one_place_at_a_time_and_stays_there(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, slots=CLOSED)
    jobs = fill(queue, *"abcd")
    queue.move_up(jobs[3])  # also before it is written down itself
    assert line(queue) == list("abdc")
    settle(queue)
    queue.move_up(jobs[3])
    queue.move_up(jobs[2])
    queue.move_up(jobs[2])
    assert line(queue) == list("acdb")
    for _ in range(3):
        queue.move_up(jobs[3])
    assert line(queue) == list("dacb")
    queue = reopened(tmp_path, queue, slots=CLOSED)
    assert line(queue) == list("dacb")
    fill(queue, "e")
    assert line(queue) == list("dacbe")
    queue.close()


def test_the_line_is_worked_off_in_its_order_by_this_blender_and_the_next(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, slots=CLOSED)
    jobs = fill(queue, *"abc")
    queue.move_up(jobs[2])
    launch = scripted(ESPALIER_TEST_PAID=str(tmp_path / "made"))
    queue = reopened(tmp_path, queue, launch=launch)
    (last,) = fill(queue, "d")
    queue.move_up(last)
    drive(queue)
    assert (tmp_path / "made").read_text().split() == list("acdb")
    queue.close()


def test_the_first_is_not_passed_over_while_it_is_written_down(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, slots=CLOSED)
    first, second = fill(queue, *"ab")
    settle(queue)
    entry = queue._book.entries[first]
    entry.work = Future(), lambda *_: None  # as if its row were on its way
    queue._pool._slots = {"draft": 2}
    queue.step()
    settle(queue)
    assert {queue.job(job).state for job in (first, second)} == {State.QUEUED}
    entry.work = None
    drive(queue, lambda: queue.job(first).state is not State.QUEUED)
    drive(queue)
    queue.close()


def test_a_job_passes_those_of_its_own_engine(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, slots=CLOSED)
    (first,) = fill(queue, "a")
    fill(queue, "x", "y", engine="trellis2")
    (last,) = fill(queue, "b")
    queue.move_up(last)
    assert line(queue) == ["b", "x", "y", "a"]
    queue.move_up(first)
    assert line(queue) == ["a", "x", "y", "b"]
    queue.close()


def test_moving_what_has_begun_or_ended_does_nothing(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    first, second = queue.submit(request("slow 30")), queue.submit(request("quick"))
    drive(queue, reached(queue, first, State.RUNNING))
    queue.move_up(first)
    queue.move_up(second)
    assert not queue._book.writing
    queue.cancel(first)
    drive(queue)
    queue.move_up(first)
    with pytest.raises(EspalierError) as caught:
        queue.move_up("nobody")
    assert caught.value.code == "job_unknown"
    queue.close()


def test_a_retried_job_stands_at_the_end_also_after_a_restart(tmp_path: Path) -> None:
    queue = open_queue(tmp_path, slots=CLOSED)
    jobs = fill(queue, *"abc")
    queue.cancel(jobs[0])
    settle(queue)
    queue.retry(jobs[0])
    assert line(queue) == list("bca")
    queue = reopened(tmp_path, queue, slots=CLOSED)
    assert line(queue) == list("bca")
    queue.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("point", "order"), [("before-commit arranged", "0 1 2"), ("after-commit arranged", "0 2 1"), ("", "0 2 1")]
)
def test_a_kill_leaves_the_order_of_before_or_after(tmp_path: Path, point: str, order: str) -> None:
    command = [sys.executable, "-c", KILLED, str(ROOT), str(tmp_path), point]
    assert subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == -9
    queue = open_queue(tmp_path, slots=CLOSED)
    drive(queue, lambda: bool(queue.resume()))
    assert line(queue) == [f"picture {number}" for number in order.split()]
    queue.close()


@pytest.mark.parametrize("act", ["move up", "clear"])
def test_what_cannot_be_written_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    queue = open_queue(tmp_path, slots=CLOSED)
    jobs = fill(queue, *"ab")
    if act == "clear":
        queue.cancel(jobs[1])
    settle(queue)
    full: Future[bool] = Future()
    name = {"move up": "arrange", "clear": "clear"}[act]
    monkeypatch.setattr(queue._ledger, name, lambda _values: full)
    queue.move_up(jobs[1]) if act == "move up" else queue.clear([jobs[1]])
    assert (line(queue), queue.job(jobs[1]).cleared) == ((["b", "a"], False) if act == "move up" else (["a"], True))
    assert queue.busy
    full.set_exception(EspalierError("disk_full", path="the ledger"))
    settle(queue)
    assert (line(queue), queue.job(jobs[1]).cleared) == ((["a", "b"], False) if act == "move up" else (["a"], False))
    assert "full" in queue.job(jobs[1]).note
    monkeypatch.undo()
    queue.close()


def test_what_is_cleared_stays_cleared_until_it_is_retried(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    failed, made = queue.submit(request("bug")), queue.submit(request("quick"))
    with pytest.raises(EspalierError) as caught:
        queue.clear([failed])
    assert caught.value.code == "job_state"
    drive(queue)
    queue.mark_imported(made)
    queue.clear([failed, made])
    assert queue.job(failed).cleared
    queue = reopened(tmp_path, queue)
    assert [queue.job(job).cleared for job in (failed, made)] == [True, True]
    assert queue.job(made).folder is not None
    assert (queue.job(made).folder / "asset.glb").is_file(), "its asset stays"
    queue.retry(failed)
    queue = reopened(tmp_path, queue)
    assert not queue.job(failed).cleared
    queue.close()


def test_engines_do_not_wait_for_each_other(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    slow = [queue.submit(request("slow 60", engine="trellis2")) for _ in range(3)]
    quick = fill(queue, *"abc")
    drive(queue, reached(queue, slow[0], State.RUNNING))
    drive(queue, lambda: all(queue.job(job).state is State.READY for job in quick))
    assert queue.job(slow[0]).state is State.RUNNING, "it went on meanwhile"
    assert [queue.job(job).state for job in slow[1:]] == [State.QUEUED] * 2, "one at a time on one GPU"
    for job in slow:
        queue.cancel(job)
    drive(queue)
    assert {queue.job(job).state for job in slow} == {State.CANCELLED}
    queue.close()


def test_the_next_queue_knows_how_long_such_jobs_took(tmp_path: Path) -> None:
    queue = open_queue(tmp_path)
    asked = request("slow 0.2")
    assert queue.took(asked) is None
    queue.submit(asked)
    drive(queue)
    took = queue.took(asked)
    assert took is not None
    assert (took.jobs, took.alike) == (1, True)
    assert took.seconds >= 0.2
    queue.close()
    queue = open_queue(tmp_path)
    queue._earlier.result(10)  # type: ignore[union-attr]
    assert queue.took(asked) == took
    assert queue.took(request("quick", engine="remote")) is None
    queue.close()
