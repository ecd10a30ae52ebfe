# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet on Ray, for real: CPU actors on this machine with the draft engine."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import requests
from ray import serve

from engine.errors import EspalierError
from engine.server.deployment import build
from tests.engine.queue_harness import processes
from tests.server.harness import PATIENCE_S, ROOT, ask, body, ended, free_port, image_uri, wait_for

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
IMAGE = image_uri((ROOT / "tests" / "data" / "rocket.png").read_bytes())
CREATE = "/v1/3d/generations"
MAKER = "ServeReplica:espalier:Maker"


class Fleet:
    """A fleet of two makers on a Ray of its own; the folder stays when it is restarted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.start()

    def start(self) -> None:
        """Start Ray, and the fleet on it."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        variables = {"PYTHONPATH": str(ROOT), "RAY_SERVE_LOG_TO_STDERR": "0"}
        variables |= {f"RAY_SERVE_{who}_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1" for who in ("HANDLE", "REPLICA")}
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 << 20,
            runtime_env={"env_vars": variables},
        )
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        self.lay_out(least=2, most=2)

    def lay_out(self, **plan: Any) -> None:
        """Let the fleet be one of this plan from now on; what there is of it is replaced while it works."""
        told = {"root": self.root, "host": "127.0.0.1", "cpus": 0.5, **plan}
        serve.run(build({name: str(value) for name, value in told.items()}), name="espalier")

    def stop(self) -> None:
        """End everything at once, as a machine that is switched off."""
        ray.shutdown()

    def create(self, seed: int) -> str:
        """Order an asset."""
        order = body(seed=seed, image=IMAGE, texture_size="1024", decimation_target=10000)
        answer = ask(self.url, "POST", CREATE, json=order)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def status(self, job: str) -> str:
        """Return the state of a job."""
        return str(ask(self.url, "GET", f"/v1/jobs/{job}").json()["status"])

    def once(self, jobs: list[str]) -> None:
        """Wait until all `jobs` are finished, and check that each was completed once."""
        told = {job: ended(self.url, job)["status"] for job in jobs}
        assert set(told.values()) == {"completed"}, told
        assert {job: self.completions()[job] for job in jobs} == dict.fromkeys(jobs, 1)

    def most_runs(self, jobs: list[str]) -> int:
        """Return how often the job among `jobs` was begun that was begun most often."""
        connection = sqlite3.connect(self.root / "ledger.sqlite3")
        runs = dict(connection.execute("SELECT id, runs FROM jobs").fetchall())
        connection.close()
        return max(int(runs[job]) for job in jobs)

    def completions(self) -> dict[str, int]:
        """Return how often each job was completed, as the ledger has it."""
        connection = sqlite3.connect(self.root / "ledger.sqlite3")
        rows = connection.execute("SELECT job, count(*) FROM transitions WHERE state = 'ready' GROUP BY job").fetchall()
        connection.close()
        return dict(rows)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet") / "root")
    yield fleet
    fleet.stop()


def test_a_job_is_made_on_an_actor(fleet: Fleet) -> None:
    job = fleet.create(1)
    done = ended(fleet.url, job)
    assert done["status"] == "completed", done
    glb = requests.get(done["result"]["data"][0]["url"], timeout=60).content
    assert glb[:4] == b"glTF"
    assert list((fleet.root / "store" / "inputs").iterdir()) == []
    assert ask(fleet.url, "GET", "/v1/jobs").json()["data"][0]["job_id"] == job
    assert ask(fleet.url, "GET", "/v1/jobs/nothing").status_code == 404


def test_a_maker_that_is_killed_loses_no_job(fleet: Fleet) -> None:
    for _ in range(5):  # until a kill comes while a job is made, and not between two
        jobs = [fleet.create(seed) for seed in range(10, 16)]
        wait_for(lambda jobs=jobs: any(fleet.status(job) == "processing" for job in jobs), 0.05)
        makers = processes(MAKER)
        assert makers, "the actors can be told by their names"
        for maker in makers:
            os.kill(maker, signal.SIGKILL)
        fleet.once(jobs)
        if fleet.most_runs(jobs) > 1:
            return
    pytest.fail("no job was made a second time")


@pytest.mark.parametrize("part", ["Dispatch", "Front"])
def test_the_only_one_of_its_kind_is_killed_and_no_job_is_lost(fleet: Fleet, part: str) -> None:
    jobs = [fleet.create(seed) for seed in range(20, 23)]
    (process,) = processes(f"ServeReplica:espalier:{part}")
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: process not in processes("ServeReplica:espalier"))
    wait_for(lambda: ask(fleet.url, "GET", "/v1/jobs").status_code == 200, 0.2)
    fleet.once(jobs)


def test_a_ray_that_is_restarted_loses_no_job(fleet: Fleet) -> None:
    jobs = [fleet.create(seed) for seed in range(30, 33)]
    fleet.stop()
    fleet.start()
    fleet.once(jobs)


def test_makers_come_with_work_and_go_without_and_no_job_is_lost(fleet: Fleet) -> None:
    """The fleet is laid out anew while it works, grows, and is scaled down while a job is under way."""
    jobs = [fleet.create(seed) for seed in range(40, 43)]
    fleet.lay_out(least=1, most=2, idle_s=1)
    fleet.once(jobs)
    wait_for(lambda: len(processes(MAKER)) == 1, 0.2)
    jobs = [fleet.create(50)]
    deadline = time.monotonic() + PATIENCE_S
    while len(processes(MAKER)) < 2:  # two jobs are unfinished at any time
        assert time.monotonic() < deadline, "no second maker has come"
        jobs.append(fleet.create(50 + len(jobs)))
        ended(fleet.url, jobs[-2])
    deadline = time.monotonic() + PATIENCE_S
    while len(processes(MAKER)) > 1:  # one is
        assert time.monotonic() < deadline, "the second maker has not gone"
        ended(fleet.url, jobs[-1])
        jobs.append(fleet.create(50 + len(jobs)))
    fleet.once(jobs)
    assert fleet.most_runs(jobs) == 1, "a maker that is let go finishes its job first"


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    for arguments in ({}, {"root": "x", "most": "many"}, {"root": "x", "nothing": "1"}):
        with pytest.raises(EspalierError):
            build(arguments)
    with pytest.raises(EspalierError) as failure:
        build({"root": str(tmp_path)})
    assert failure.value.code == "server_open"
