# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet on a Ray of this machine, for tests and the benchmark: CPU actors with the draft engine.

Ray takes what it starts here for machines of their own: each has a raylet, and is lost with it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ray
from ray import serve
from ray.cluster_utils import Cluster

from engine.jobs.job import ACTIVE, State
from engine.server.deployment import build
from tests.server.harness import ROOT, ask, body, free_port, image_uri
from tests.support.waiting import wait_for

IMAGE = image_uri((ROOT / "tests" / "data" / "rocket.png").read_bytes())
CREATE = "/v1/3d/generations"
SMALL = {"texture_size": "1024", "decimation_target": 10000}
VARIABLES = {"PYTHONPATH": str(ROOT), "RAY_SERVE_LOG_TO_STDERR": "0"}
_SOON = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_failure_threshold": 2}
"""How Ray finds out that a machine is gone: by default it takes up to half a minute."""
_LEFT_OUT = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
"""Processes of Ray's that nobody asks anything of here."""
_MEMORY = 100 << 20
_CORES = 2


class Fleet:
    """A fleet of two makers, or of another `plan`, on a Ray of its own; the folder stays when it is restarted.

    Ray has two processors, on one machine or on two. A fleet that is `beside` another has a `name`, with which its
    addresses begin.
    """

    def __init__(
        self, root: Path, *, machines: int = 1, name: str = "", beside: Fleet | None = None, **plan: Any
    ) -> None:
        self.root, self._name, self._machines = root, name, machines
        self._plan = {"least": 2, "most": 2, "cpus": 0.5, **plan}
        if beside is None:
            self.start()
        else:
            self._server = beside._server
            self.lay_out()

    def start(self, machines: int = 0, **plan: Any) -> None:
        """Start Ray, and the fleet on it: as before, but for what is told."""
        self._machines = machines or self._machines
        self._plan |= plan
        port = free_port()
        self._server = f"http://127.0.0.1:{port}"
        # Inherited by Ray's processes: for a runtime environment it would start each of them anew, and slowly.
        with patch.dict(os.environ, VARIABLES):
            self._each = {"num_cpus": _CORES // self._machines, "object_store_memory": _MEMORY}
            head = {**self._each, **_LEFT_OUT, "_system_config": _SOON}
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
            for _ in range(1, self._machines):
                self.add_machine()
            ray.init(address=self._cluster.address, log_to_driver=False)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        self.lay_out()

    def lay_out(self, **plan: Any) -> None:
        """Let the fleet be one of this plan from now on; what there is of it is replaced while it works."""
        told = {"root": self.root, "host": "127.0.0.1", **self._plan, **plan}
        fleet = build({name: str(value) for name, value in told.items()})
        serve.run(fleet, name=f"espalier{self._name}", route_prefix=f"/{self._name}")
        self.url = f"{self._server}/{self._name}".rstrip("/")

    def add_machine(self) -> None:
        """Have one more machine."""
        with patch.dict(os.environ, VARIABLES):
            self._cluster.add_node(**self._each)

    def lose_machine(self) -> None:
        """Lose the machine that came last, with whatever was on it, as one that is switched off."""
        (lost,) = self._cluster.worker_nodes
        self._cluster.remove_node(lost, allow_graceful=False)

    def stop(self) -> None:
        """End everything at once, as a machine that is switched off."""
        ray.shutdown()
        self._cluster.shutdown()

    def create(self, seed: int, **parameters: Any) -> str:
        """Order an asset, a small one unless `parameters` say otherwise."""
        order = body(image=IMAGE, **{**SMALL, **parameters, "seed": seed})
        answer = ask(self.url, "POST", CREATE, json=order)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def at_work(self, jobs: list[str]) -> int:
        """Return how many of `jobs` are being made, as the ledger has it."""
        return list(self.told("SELECT id, state FROM jobs", jobs).values()).count(State.RUNNING)

    def once(self, jobs: list[str]) -> None:
        """Wait until all `jobs` are finished, and check that each was completed once, and that fronts say so."""
        self.over(jobs)
        assert self.told("SELECT id, state FROM jobs", jobs) == dict.fromkeys(jobs, State.READY)
        counts = "SELECT job, count(*) FROM transitions WHERE state = 'ready' GROUP BY job"
        assert self.told(counts, jobs) == dict.fromkeys(jobs, 1)
        wait_for(lambda: self._listed(jobs) == {"completed"}, 0.1, told=lambda: self._listed(jobs))

    def _listed(self, jobs: list[str]) -> set[str]:
        """Return the states that a front tells of `jobs`; it may be a second late."""
        listed = ask(self.url, "GET", "/v1/jobs?limit=100").json()["data"]
        return {one["status"] for one in listed if one["job_id"] in jobs}

    def over(self, jobs: list[str]) -> None:
        """Wait until all `jobs` are at an end."""
        wait_for(lambda: not self.unfinished(jobs), 0.05)

    def unfinished(self, jobs: list[str]) -> bool:
        """Tell whether any of `jobs` is not yet at an end."""
        return bool(ACTIVE & {*self.told("SELECT id, state FROM jobs", jobs).values()})

    def most_runs(self, jobs: list[str]) -> int:
        """Return how often the job among `jobs` was begun that was begun most often."""
        return max(self.told("SELECT id, runs FROM jobs", jobs).values())

    def told(self, query: str, jobs: list[str]) -> dict[str, Any]:
        """Return what the ledger answers of each of `jobs`."""
        with closing(sqlite3.connect(self.root / "ledger.sqlite3")) as connection:
            found = dict(connection.execute(query).fetchall())
        return {job: found.get(job) for job in jobs}
