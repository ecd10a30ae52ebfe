# SPDX-License-Identifier: GPL-3.0-or-later
"""From end to end: an artist's Blender, the remote engine, this server, the draft engine, an object in the scene."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.jobs.job import State
from tests.server.harness import ROOT, Served

TIMEOUT_S = 300.0


def blender() -> list[str]:
    """Return the command of a Python that has a `bpy`: one that is made here already, or that ESPALIER_TEST_BPY names.

    Skips the test where there is none: making one fetches some hundred megabytes.
    """
    if python := os.environ.get("ESPALIER_TEST_BPY"):
        return [python]
    made = sorted((ROOT / ".venv").glob("bpy-*/stamp"))
    system = shutil.which("python3")
    if not made or system is None:
        pytest.skip("no Blender is made here as a Python module: make test-blender makes one")
    return [system, str(ROOT / "wheels" / "environments.py"), "exec", made[0].parent.name]


def test_blender_gets_its_object_from_the_server(drafting: Served, tmp_path: Path) -> None:
    image = tmp_path / "rocket.png"
    shutil.copyfile(ROOT / "tests" / "data" / "rocket.png", image)
    run = subprocess.run(
        [*blender(), "-m", "tests.server.in_blender", str(image)],
        env={**os.environ, "ESPALIER_API_URL": drafting.url, "EMPIRIOLABS_API_KEY": drafting.token},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout.strip().splitlines()[-1])
    job = asyncio.run(drafting.desk.jobs("first"))[0]
    assert (told["done"], told["online"]) == (["FINISHED"], False), "a server of this machine needs no online access"
    (made,) = told["objects"]
    assert (made["name"], made["engine"], made["seed"]) == ("rocket", "remote", 11)
    assert made["faces"] > 1000
    assert made["images"]
    assert all(made["images"]), "its textures are packed"
    assert abs(made["lowest"]) < 1e-3, "it stands on its base"
    assert job.state is State.READY
    assert (job.request.engine, job.request.parameters["seed"]) == ("draft", 11)
    assert drafting.token not in run.stdout + run.stderr
