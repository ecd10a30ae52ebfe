# SPDX-License-Identifier: GPL-3.0-or-later
"""Many jobs at a server that takes 50 requests a minute, from one Blender and from several on one machine."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from engine.request import GenerationRequest
from tests.engine.queue_harness import drive, gone, library, processes
from tests.engine.remote_harness import picture
from tests.engine.remote_queue import open_remote
from tests.engine.remote_schedule import clairvoyant_s, least_s
from tests.support.api_assets import finished_asset
from tests.support.api_faults import Fault
from tests.support.api_server import ApiServer
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.once

SCALE = 8.0
"""Three minutes in 23 seconds: what this machine does in between counts eight times."""


@pytest.fixture
def queues(tmp_path: Path) -> Iterator[Callable[..., JobQueue]]:
    """Open queues of a server, each as if it were another Blender."""
    opened: list[JobQueue] = []

    def open_one(server: ApiServer, name: str = "one", **options: Any) -> JobQueue:
        opened.append(open_remote(tmp_path / name, server, tmp_path / "shared", **options))
        return opened[-1]

    yield open_one
    for queue in opened:
        queue.close()
    assert gone(str(tmp_path))


def submit(queue: JobQueue, folder: Path, count: int) -> list[str]:
    path = str(picture(folder))
    return [queue.submit(GenerationRequest.create(path, "remote", {"seed": number})) for number in range(count)]


def drive_all(queues: list[JobQueue]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(queue.busy for queue in queues):
        for queue in queues:
            queue.step()
        assert time.monotonic() < deadline, [Counter(job.state for job in queue.jobs()) for queue in queues]
        time.sleep(0.01)


def fastest_minute(server: ApiServer) -> int:
    """Return the most requests that came in within 60 seconds of the server's."""
    times = [when for when, _ in server.book.admitted]
    return max(sum(start <= when < start + 60.0 for when in times) for start in times)


def check(server: ApiServer, queue: JobQueue, count: int) -> None:
    assert Counter(job.state for job in queue.jobs()) == {State.READY: count}
    assert not server.leaks()


def wall_s(server: ApiServer, pressed: float) -> float:
    """Return the server's seconds since `pressed`; but what went by before the first request, starting a worker, is
    counted in seconds of the world, as it would be if the server were no faster than the world.
    """
    first = server.book.admitted[0][0]
    return (first - pressed) / server.clock.scale + server.clock.now() - first


def quickest(run: Callable[[str], float], most_s: float) -> float:
    """Return what `run` takes, or where that is more than `most_s`, what it takes a second time if that is less.

    Other programs on the machine can only lengthen it.
    """
    first = run("first")
    return first if first <= most_s else min(first, run("second"))


def test_a_hundred_jobs_in_the_shortest_time(tmp_path: Path, queues: Callable[..., JobQueue]) -> None:
    takes = [random.Random(3).uniform(20.0, 90.0) for _ in range(100)]
    assert least_s(takes, 50) == clairvoyant_s(takes, 50) == 180.0

    def run(name: str) -> float:
        with ApiServer(job_s=lambda number: takes[number], scale=SCALE) as server:
            queue = queues(server, name)
            pressed = server.clock.now()
            submit(queue, tmp_path, 100)
            drive(queue)
            wall = wall_s(server, pressed)
            check(server, queue, 100)
            assert server.billed == 100
            assert server.book.throttled == 0
            assert fastest_minute(server) <= 50
            print(f"{wall:.1f} s, 180 at best, {len(server.book.admitted)} requests, 200 at least")
            return wall

    assert quickest(run, 1.15 * 180.0) <= 1.15 * 180.0


def test_several_blenders_share_an_account(tmp_path: Path, queues: Callable[..., JobQueue]) -> None:
    with ApiServer(job_s=25.0, scale=30.0) as server:
        three = [queues(server, name) for name in ("one", "two", "three")]
        for queue in three:
            submit(queue, tmp_path, 20)
        drive_all(three)
        for queue in three:
            check(server, queue, 20)
        assert server.billed == 60
        assert server.book.throttled == 0


def test_others_use_the_account_too(tmp_path: Path, queues: Callable[..., JobQueue]) -> None:
    """What another machine takes nobody here can know; the server says so, and all is made all the same."""
    with ApiServer(job_s=25.0, scale=30.0) as server:
        stop = threading.Event()

        def other() -> None:
            while not stop.wait(60.0 / 25 / 30.0):
                try:
                    server.book.admit("other")
                except Exception:
                    continue

        thread = threading.Thread(target=other)
        thread.start()
        queue = queues(server)
        try:
            submit(queue, tmp_path, 30)
            drive(queue)
        finally:
            stop.set()
            thread.join()
        check(server, queue, 30)
        assert server.billed == 30
        assert server.book.throttled <= 60


def test_a_storm_of_refusals(tmp_path: Path, queues: Callable[..., JobQueue]) -> None:
    faults = [Fault(at, "status", 429, times=25) for at in ("create", "poll")]
    with ApiServer(job_s=10.0, scale=60.0, faults=faults) as server:
        queue = queues(server)
        submit(queue, tmp_path, 12)
        drive(queue)
        check(server, queue, 12)
        assert server.billed == 12


def test_long_jobs_are_asked_after_within_the_rate(tmp_path: Path, queues: Callable[..., JobQueue]) -> None:
    """Sixty jobs of four minutes, all there at once: polls share the rate, and the end is noticed soon."""
    best = least_s([240.0] * 60, 50)

    def run(name: str) -> float:
        with ApiServer(job_s=240.0, scale=30.0) as server:
            queue = queues(server, name)
            pressed = server.clock.now()
            submit(queue, tmp_path, 60)
            drive(queue)
            wall = wall_s(server, pressed)
            check(server, queue, 60)
            assert server.book.throttled == 0
            print(f"{wall:.1f} s, {best:.1f} at best, {len(server.book.admitted)} requests")
            return wall

    assert quickest(run, 1.25 * best) <= 1.25 * best


def rss_of(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_the_memory_of_a_worker_stays_flat(tmp_path: Path, queues: Callable[..., JobQueue]) -> None:
    glb = finished_asset(3, 512)
    with ApiServer(job_s=5.0, scale=600.0, rate=100_000, glb=glb) as server:
        queue = queues(server, create="create", slots={"remote": 8})
        seen = []
        for _ in range(8):
            submit(queue, tmp_path, 25)
            drive(queue)
            (worker,) = processes(str(tmp_path / "one"))
            seen.append(rss_of(worker))
        check(server, queue, 200)
        assert len(library(tmp_path / "one")) == 200
        print([f"{rss / 2**20:.0f}" for rss in seen])
        grown = max(seen[4:]) - max(seen[1:4])
        assert grown < 4 * len(glb), "a leak of what one job holds would be a hundred times that"
