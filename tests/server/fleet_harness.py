# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet on a Ray of this machine, for tests and the benchmark: CPU actors with the draft engine."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ray
from ray import serve

from engine.server.deployment import build
from tests.server.harness import ROOT, ask, body, ended, free_port, image_uri

IMAGE = image_uri((ROOT / "tests" / "data" / "rocket.png").read_bytes())
CREATE = "/v1/3d/generations"
SMALL = {"texture_size": "1024", "decimation_target": 10000}
VARIABLES = {"PYTHONPATH": str(ROOT), "RAY_SERVE_LOG_TO_STDERR": "0"}


class Fleet:
    """A fleet of two makers, or of another `plan`, on a Ray of its own; the folder stays when it is restarted.

    One that is `beside` another has a `name`, with which its addresses begin.
    """

    def __init__(self, root: Path, *, name: str = "", beside: Fleet | None = None, **plan: Any) -> None:
        self.root, self._name, self._plan = root, name, {"least": 2, "most": 2, "cpus": 0.5, **plan}
        if beside is None:
            self.start()
        else:
            self._server = beside._server
            self.lay_out()

    def start(self) -> None:
        """Start Ray, and the fleet on it."""
        port = free_port()
        self._server = f"http://127.0.0.1:{port}"
        # Inherited by Ray's processes: for a runtime environment it would start each of them anew, and slowly.
        with patch.dict(os.environ, VARIABLES):
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        self.lay_out(**self._plan)

    def lay_out(self, **plan: Any) -> None:
        """Let the fleet be one of this plan from now on; what there is of it is replaced while it works."""
        told = {"root": self.root, "host": "127.0.0.1", **self._plan, **plan}
        fleet = build({name: str(value) for name, value in told.items()})
        serve.run(fleet, name=f"espalier{self._name}", route_prefix=f"/{self._name}")
        self.url = f"{self._server}/{self._name}".rstrip("/")

    def stop(self) -> None:
        """End everything at once, as a machine that is switched off."""
        ray.shutdown()

    def create(self, seed: int, **parameters: Any) -> str:
        """Order an asset, a small one unless `parameters` say otherwise."""
        order = body(image=IMAGE, **{**SMALL, **parameters, "seed": seed})
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
