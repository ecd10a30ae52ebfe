# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet on Ray, for real: CPU actors on this machine with the draft engine."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from engine.errors import EspalierError
from engine.server.deployment import build
from engine.server.store import ASSETS, INPUTS
from tests.engine.queue_harness import processes
from tests.server.fleet_harness import CREATE, Fleet
from tests.server.harness import ask, body, ended
from tests.server.object_store import STORE, ObjectStore, object_store
from tests.support.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MAKER = "ServeReplica:espalier:Maker"


@pytest.fixture(scope="module")
def objects() -> Iterator[ObjectStore]:
    with object_store() as objects:
        yield objects


@pytest.fixture(scope="module")
def fleet(objects: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two makers on two machines, over a store that speaks S3's protocol."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet") / "root", machines=2, store=STORE)
    yield fleet
    fleet.stop()


def test_a_job_is_made_on_an_actor(fleet: Fleet, objects: ObjectStore) -> None:
    job = fleet.create(1)
    done = ended(fleet.url, job)
    assert done["status"] == "completed", done
    glb = requests.get(done["result"]["data"][0]["url"], timeout=60).content
    assert glb[:4] == b"glTF"
    assert objects.names(ASSETS) == [f"{job}-1.glb"]
    wait_for(lambda: objects.names(INPUTS) == [])
    assert ask(fleet.url, "GET", "/v1/jobs").json()["data"][0]["job_id"] == job
    wait_for(lambda: 'espalier_jobs{state="ready"} 1.0' in ask(fleet.url, "GET", "/metrics").text)
    assert ask(fleet.url, "GET", "/v1/jobs/nothing").status_code == 404
    for kind in ("data:image/png;base64,", "data:image/png;base64,AAAA"):
        assert ask(fleet.url, "POST", CREATE, json=body(image=kind)).status_code == 400
    assert list((fleet.root / "inputs").iterdir()) == [], "what a front has looked at, it keeps no longer"


def test_a_dispatcher_that_cannot_write_refuses_a_job(fleet: Fleet, objects: ObjectStore) -> None:
    connection = sqlite3.connect(fleet.root / "ledger.sqlite3")
    connection.execute("ALTER TABLE jobs RENAME TO hidden")
    connection.commit()
    try:
        answer = ask(fleet.url, "POST", CREATE, json=body())
        assert answer.status_code == 503, answer.text
        assert set(answer.json()) == {"error"}
        assert objects.names(INPUTS) == []
    finally:
        connection.execute("ALTER TABLE hidden RENAME TO jobs")
        connection.commit()
        connection.close()
    fleet.once([fleet.create(2)])


def test_a_maker_that_is_killed_loses_no_job(fleet: Fleet) -> None:
    for _ in range(5):  # until a kill comes while a job is made, and not between two
        jobs = [fleet.create(seed) for seed in range(10, 16)]
        wait_for(lambda jobs=jobs: fleet.at_work(jobs) > 0, 0.05)
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


def test_a_machine_that_is_lost_loses_no_job(fleet: Fleet) -> None:
    """It takes a maker with it while that works, and whatever else of the fleet Ray has put there."""
    jobs: list[str] = []

    def both_at_work() -> bool:
        if not fleet.unfinished(jobs):  # one maker may come late, and the other have done all alone
            jobs.extend(fleet.create(seed, texture_size="2048", decimation_target=500_000) for seed in range(24, 28))
        return fleet.at_work(jobs) == 2

    wait_for(both_at_work, 0.05)
    fleet.lose_machine()
    wait_for(lambda: len(processes(MAKER)) == 1, 0.05)
    fleet.add_machine()
    wait_for(lambda: ask(fleet.url, "GET", "/v1/jobs").status_code == 200, 0.2)
    fleet.once(jobs)
    assert fleet.most_runs(jobs) > 1, "what was made on it is made again"


def test_a_ray_that_is_restarted_loses_no_job(fleet: Fleet) -> None:
    jobs = [fleet.create(seed) for seed in range(30, 33)]
    fleet.stop()
    fleet.start(machines=1, least=1)
    fleet.once(jobs)


def test_makers_come_with_work_and_go_without_and_no_job_is_lost(fleet: Fleet) -> None:
    """The fleet is laid out anew while it works, grows, and is scaled down while a job is under way."""
    jobs = [fleet.create(seed) for seed in range(40, 43)]
    fleet.lay_out(least=1, most=2, idle_s=1)
    fleet.once(jobs)
    wait_for(lambda: len(processes(MAKER)) == 1, 0.2)
    jobs = [fleet.create(50)]

    def makers(unfinished: int) -> int:
        fleet.over(jobs[: 1 - unfinished or None])
        jobs.append(fleet.create(50 + len(jobs)))
        return len(processes(MAKER))

    wait_for(lambda: makers(unfinished=2) == 2, told=lambda: "no second maker has come")
    wait_for(lambda: makers(unfinished=1) == 1, told=lambda: "the second maker has not gone")
    fleet.once(jobs)
    assert fleet.most_runs(jobs) == 1, "a maker that is let go finishes its job first"


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    for arguments in ({}, {"root": "x", "most": "many"}, {"root": "x", "nothing": "1"}):
        with pytest.raises(EspalierError):
            build(arguments)
    with pytest.raises(EspalierError) as failure:
        build({"root": str(tmp_path)})
    assert failure.value.code == "server_open"
