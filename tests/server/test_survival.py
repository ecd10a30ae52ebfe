# SPDX-License-Identifier: GPL-3.0-or-later
"""No job is lost: not by a kill, not by a restart, not by an end in good order."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from engine.errors import EspalierError
from engine.server.desk import Desk
from engine.server.metrics import Metrics
from tests.server.harness import Process, Served, ask, body, ended
from tests.server.test_surface import CREATE, refused
from tests.support.waiting import wait_for

JOBS = 40
"""The benchmark does the same with a thousand."""


def created(server: Process, seed: int) -> str:
    """Order an asset, and return its job's id."""
    answer = ask(server.url, "POST", CREATE, json=body(seed=seed))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def test_all_jobs_outlive_kills(tmp_path: Path) -> None:
    """Killed while they are created, and again while they are made; each accepted one is finished, once."""
    root = tmp_path / "root"
    options = ("--requests-per-minute", "1000000", "--queue", "5000", "--slots", "2")
    server = Process(root, 0.0, *options)
    jobs: dict[int, str] = {}
    seeds = iter(range(1000, 1000 + 2 * JOBS))

    def one(seed: int) -> None:
        try:
            jobs[seed] = created(server, seed)
        except requests.RequestException:
            return  # killed meanwhile: whoever asked knows of no job

    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(one, next(seeds)) for _ in range(JOBS // 2)]
        wait_for(lambda: len(jobs) >= JOBS // 4)
        server.kill()
        for done in first:
            done.result()
        server = Process(root, 0.0, *options, port=server.port)
        list(pool.map(one, [next(seeds) for _ in range(JOBS - len(jobs))]))
    assert len(jobs) == JOBS
    server.kill()
    server = Process(root, 0.0, *options, port=server.port)
    told = {seed: ended(server.url, job) for seed, job in jobs.items()}
    assert Counter(state["status"] for state in told.values()) == {"completed": JOBS}
    lines = Counter(map(int, (tmp_path / "backend" / "made.txt").read_text().split()))
    assert jobs.keys() <= lines.keys()
    twice = [seed for seed, times in lines.items() if times > 1]
    assert len(twice) <= 4, "no more than those at work when it was killed are made again"
    url = next(iter(told.values()))["result"]["data"][0]["url"]
    assert requests.get(url, timeout=60).content[:4] == b"glTF"
    assert server.stop() == 0


def test_two_signals_stop_at_once_and_one_finishes_what_runs_and_keeps_what_waits(tmp_path: Path) -> None:
    root, made = tmp_path / "root", tmp_path / "backend" / "made.txt"

    def signalled(running: str) -> None:
        wait_for(lambda: ask(server.url, "GET", f"/v1/jobs/{running}").json()["progress"] > 0.0, 0.02)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: ask(server.url, "GET", "/health").status_code == 503, 0.02)

    server = Process(root, takes_s=600)
    running = created(server, 1)
    signalled(running)
    assert server.stop() == 0
    assert not made.exists(), "the second signal does not wait"
    server = Process(root, takes_s=2.0)
    waiting = created(server, 2)
    signalled(running)
    refused(ask(server.url, "POST", CREATE, json=body()), 503, "model_unavailable")
    assert ask(server.url, "GET", f"/v1/jobs/{waiting}").json()["status"] == "queued"
    assert server.process.wait(60) == 0
    assert made.read_text().split() == ["1"]
    server = Process(root, takes_s=0.0)
    assert ended(server.url, running)["status"] == ended(server.url, waiting)["status"] == "completed"
    assert server.stop() == 0
    assert made.read_text().split() == ["1", "2"]


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    with Served(tmp_path / "root") as served, pytest.raises(EspalierError) as failure:
        asyncio.run(Desk(served.settings, Metrics()).open())
    assert failure.value.code == "server_root_shared"
