# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers and Blenders that are killed with SIGKILL while a job is at the server, at every point of its way.

What is paid for is fetched, and paid for once. Only where a request may have been sent whose answer nobody wrote down
is the outcome unknown, and then nothing is sent again unasked.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from engine.jobs.job import Job, State
from engine.jobs.queue import JobQueue
from engine.request import GenerationRequest
from tests.engine.backends_for_tests.remote_scaled import POINTS
from tests.engine.queue_harness import ROOT, drive, gone, library, open_queue, processes, user_folder
from tests.engine.remote_harness import SCALE, picture, posts
from tests.engine.remote_queue import launch_remote
from tests.support.api_faults import Fault
from tests.support.api_server import ApiServer
from tests.support.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")]

OPEN = ("after submitting", "before accepted")
"""Points at which a request may have reached the server, and its answer is written down nowhere."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    with ApiServer(job_s=getattr(request, "param", 20.0), scale=SCALE) as server:
        yield server
        assert not server.leaks()


def mortal(folder: Path, point: str, victim: str = "self") -> dict[str, str]:
    """Return the environment of a worker that dies, or kills its parent, once at `point`."""
    died = str(folder / "died")
    return {"ESPALIER_TEST_DEATH": point, "ESPALIER_TEST_VICTIM": victim, "ESPALIER_TEST_DIED": died}


def run_here(folder: Path, server: ApiServer, env: dict[str, str], act: Any = None) -> tuple[Job, Any]:
    """Make one job in this process; `act` is called with the queue while it runs. Returns the job and the queue."""
    account = server.account(folder / "shared")
    launch = launch_remote(server.clock.scale, **env)
    queue = open_queue(folder / "root", launch, account=lambda engine: account)
    job = queue.submit(GenerationRequest.create(str(picture(folder)), "remote"))
    if act:
        act(queue)
    drive(queue)
    return queue.job(job), queue


def whole(folder: Path, job: Job, server: ApiServer) -> None:
    """Check that the asset is in the library as the server made it."""
    assert job.state is State.READY, (job.state, job.error)
    assert (folder / "library" / job.id / "asset.glb").read_bytes() == server.glb
    assert library(folder) == {job.id}


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_is_killed(tmp_path: Path, server: ApiServer, point: str) -> None:
    job, queue = run_here(tmp_path, server, mortal(tmp_path, point))
    try:
        assert (tmp_path / "died").exists()
        if point in OPEN:
            assert job.state is State.UNKNOWN, (job.state, job.error)
            assert posts(server) == server.billed == (1 if point == OPEN[1] else 0)
            assert job.digest
            queue.retry(job.id)
            drive(queue)
            whole(tmp_path / "root", queue.job(job.id), server)
            assert server.billed == (2 if point == OPEN[1] else 1)
        else:
            whole(tmp_path / "root", job, server)
            assert posts(server) == server.billed == 1
    finally:
        queue.close()


@pytest.mark.parametrize("place", ["create", "poll", "asset"])
def test_a_worker_is_killed_while_the_server_answers(tmp_path: Path, server: ApiServer, place: str) -> None:
    """In the middle of a creation, a poll or a download."""
    server.script.add(Fault(place, "slow", 0.01))

    def act(queue: Any) -> None:
        drive(queue, lambda: any(request_of(server, place)))
        time.sleep(0.1)
        (worker,) = processes(str(tmp_path / "root"))
        os.kill(worker, signal.SIGKILL)

    job, queue = run_here(tmp_path, server, {}, act)
    try:
        assert posts(server) == server.billed == 1
        if place == "create":
            assert job.state is State.UNKNOWN
        else:
            whole(tmp_path / "root", job, server)
    finally:
        queue.close()


def test_a_worker_is_killed_while_it_waits_to_be_let_in(tmp_path: Path, server: ApiServer) -> None:
    """The server has refused the request for now, and the ledger knows it: it is sent again, unasked."""
    server.script.add(Fault("create", "status", 429, retry_after="500"))

    def act(queue: Any) -> None:
        (job,) = queue.jobs()
        drive(queue, lambda: posts(server) == 1 and not queue.job(job.id).digest)
        (worker,) = processes(str(tmp_path / "root"))
        os.kill(worker, signal.SIGKILL)

    job, queue = run_here(tmp_path, server, {}, act)
    try:
        whole(tmp_path / "root", job, server)
        assert server.billed == 1
        assert posts(server) == 2
    finally:
        queue.close()


def request_of(server: ApiServer, place: str) -> list[Any]:
    return {
        "create": server.requests("POST", "/v1/3d/generations"),
        "poll": server.requests("GET", "/v1/jobs/"),
        "asset": server.requests("GET", "/assets/", foreign=True),
    }[place]


def test_a_worker_that_dies_again_and_again_is_given_up(tmp_path: Path, server: ApiServer) -> None:
    """Truthfully: the job is at the server, and a retry goes on with it."""
    env = mortal(tmp_path, "ready") | {"ESPALIER_TEST_DIED": ""}
    job, queue = run_here(tmp_path, server, env)
    try:
        assert job.state in (State.UNKNOWN, State.FAILED)
        assert job.remote_id in server.book.jobs
        assert posts(server) == server.billed == 1
        assert 2 <= len(request_of(server, "asset")) <= 10
    finally:
        queue.close()


# The Blender is killed.


def blender(folder: Path, server: ApiServer, count: int = 1, **options: Any) -> subprocess.Popen[str]:
    root = user_folder(folder / "root")
    told = {
        "repository": str(ROOT), "root": str(root), "account": server.account(folder / "shared"),
        "scale": server.clock.scale, "image": str(picture(folder)), "count": count, **options,
    }  # fmt: skip
    # The folder is an argument only so that `gone` finds the process.
    command = [sys.executable, str(ROOT / "tests/engine/remote_driver.py"), str(root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(f"{json.dumps(told)}\n")
    process.stdin.close()
    process.stdin = None
    return process


def end_of(process: subprocess.Popen[str]) -> str:
    """Wait for a Blender's end; return its last word that was not read yet, "" if there is none or it was killed."""
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, -signal.SIGKILL), (process.returncode, out)
    words = out.split()
    return words[-1] if words and not process.returncode else ""


@pytest.mark.parametrize("server", [1e6], indirect=True)
def test_what_waits_after_a_restart_is_cancelled_at_the_server_too(tmp_path: Path, server: ApiServer) -> None:
    """No worker has it yet, and it would be made for nobody."""
    account, root = server.account(tmp_path / "shared"), tmp_path / "root"
    launch = launch_remote(server.clock.scale)

    def opened(slots: int) -> JobQueue:
        return open_queue(root, launch, account=lambda engine: account, slots={"remote": slots})

    first = opened(2)
    image = str(picture(tmp_path))
    jobs = [first.submit(GenerationRequest.create(image, "remote", {"seed": seed})) for seed in range(2)]
    drive(first, lambda: all(first.job(job).remote_id for job in jobs))
    first.close()
    again = opened(1)
    try:
        again.resume()
        drive(again, lambda: any(again.job(job).stage == "make" for job in jobs))
        waiting = next(job for job in jobs if again.job(job).stage != "make")
        again.cancel(waiting)
        assert again.job(waiting).state is State.CANCELLED
        there = server.book.jobs[again.job(waiting).remote_id]
        drive(again, lambda: there.cancelled)
        other = next(job for job in jobs if job != waiting)
        assert not server.book.jobs[again.job(other).remote_id].cancelled
        again.cancel(other)
        drive(again)
    finally:
        again.close()


def ledger(folder: Path) -> list[tuple[str, str, str]]:
    """Return id, state and remote id of all jobs."""
    connection = sqlite3.connect(folder / "root" / "ledger.sqlite3")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT id, state, remote_id FROM jobs").fetchall()
    finally:
        connection.close()


def check(folder: Path, server: ApiServer, open_points: bool) -> None:
    """Check what must hold after a kill and a next start that went on to the end."""
    assert gone(str(folder))
    ((job, state, remote_id),) = ledger(folder)
    if state == "unknown":
        assert open_points, "a Blender that knows more has to go on"
        assert library(folder / "root") == set()
    else:
        assert state == "ready"
        assert library(folder / "root") == {job}
        assert (folder / "root/library" / job / "asset.glb").read_bytes() == server.glb
        assert server.billed == 1
        assert remote_id in server.book.jobs
    assert posts(server) <= 1
    assert server.billed <= 1


@pytest.mark.parametrize("point", POINTS)
def test_a_blender_is_killed(tmp_path: Path, server: ApiServer, point: str) -> None:
    env = mortal(tmp_path, point, "parent")
    assert end_of(blender(tmp_path, server, env=env)) == ""
    assert gone(str(tmp_path))
    assert end_of(blender(tmp_path, server)) == "done"
    check(tmp_path, server, point in OPEN)


def points_of_a_job(folder: Path) -> list[str]:
    """Return the points that the transitions of one job pass, in order, which a run tells."""
    with ApiServer(job_s=20.0, scale=SCALE) as server:
        assert end_of(blender(folder, server)) == "done"
    return (folder / "root/points").read_text().split("\n")[:-1]


def test_a_blender_is_killed_at_every_transition(tmp_path: Path) -> None:
    """All of them in one test, for only a run tells which there are."""
    (tmp_path / "first").mkdir()
    points = points_of_a_job(tmp_path / "first")
    assert len(points) >= 24, points

    def killed(point: str) -> str:
        folder = tmp_path / point.replace(" ", "-")
        folder.mkdir()
        with ApiServer(job_s=20.0, scale=SCALE) as server:
            assert end_of(blender(folder, server, point=point)) == "", point
            assert gone(str(folder))
            assert end_of(blender(folder, server)) == "done", point
            check(folder, server, True)
            return ledger(folder)[0][1]

    with ThreadPoolExecutor(3) as pool:
        unknown = {point for point, state in zip(points, pool.map(killed, points), strict=True) if state == "unknown"}
    # From when the digest is written down, the next act is to send; until the id is, nobody knows what was answered.
    assert unknown <= {"after-commit digest", "before-act digest", "after-act digest", "before-commit remote_id"}
    print(f"{len(points)} points, unknown after {sorted(unknown)}")


@pytest.mark.parametrize("place", ["create", "poll", "asset"])
def test_a_blender_is_killed_while_the_server_answers(tmp_path: Path, server: ApiServer, place: str) -> None:
    server.script.add(Fault(place, "slow", 0.01))
    process = blender(tmp_path, server)
    wait_for(lambda: bool(request_of(server, place)))
    time.sleep(0.1)
    process.kill()
    assert end_of(process) == ""
    assert end_of(blender(tmp_path, server)) == "done"
    check(tmp_path, server, place == "create")


@pytest.mark.parametrize("place", ["poll", "asset"])
def test_a_blender_ends_in_good_order(tmp_path: Path, place: str) -> None:
    with ApiServer(job_s=400.0 if place == "poll" else 5.0, scale=SCALE) as server:
        if place == "asset":
            server.script.add(Fault("asset", "slow", 0.1))
        assert end_of(blender(tmp_path, server, quit_in_s=3.0)) == "closed"
        assert gone(str(tmp_path))
        ((_, _, remote_id),) = ledger(tmp_path)
        assert remote_id in server.book.jobs
        assert not server.book.jobs[remote_id].cancelled
        assert end_of(blender(tmp_path, server)) == "done"
        check(tmp_path, server, False)


def test_blenders_are_killed_at_random_with_many_jobs(tmp_path: Path) -> None:
    chance = random.Random(11)
    with ApiServer(job_s=20.0, scale=SCALE, rate=5000) as server:
        for _ in range(6):
            process = blender(tmp_path, server, 12)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0.1, 1.2))
            process.kill()
            end_of(process)
        assert end_of(blender(tmp_path, server, 12)) == "done"
        rows = ledger(tmp_path)
        assert len(rows) == 12
        assert {state for _, state, _ in rows} <= {"ready", "unknown"}
        ready = [job for job, state, _ in rows if state == "ready"]
        assert library(tmp_path / "root") == set(ready)
        ids = [remote_id for _, state, remote_id in rows if state == "ready"]
        assert len(set(ids)) == len(ids), "no asset is delivered twice"
        assert len(ready) <= server.billed <= 12
        assert posts(server) <= 12
        print(f"{len(ready)} ready, {12 - len(ready)} unknown, {server.billed} billed")
