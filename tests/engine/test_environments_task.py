# SPDX-License-Identifier: GPL-3.0-or-later
"""The child that works on an environment: given up at once, gone with its parent, and told no secret in the open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.environments.order import Order
from engine.environments.places import Places
from engine.environments.sources import Sources
from engine.environments.status import Condition
from engine.environments.task import Task
from tests.engine.environment_harness import CLOSED, House, finish
from tests.support.index_server import Fault, serving
from tests.support.tiny_wheels import ROOT
from tests.support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.once

PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from engine.environments.places import Places
from engine.environments.sources import Sources
from engine.environments.task import Order, Task
root, uv, locks, url = sys.argv[2:]
task = Task(Order("install", "cpu"), Places(Path(root), (Path(uv),), Path(locks)), Sources(url))
while not task.finished:
    task.step()
    if task.stage == "Downloading" and task.done_bytes:
        print(task.pid, flush=True)
    time.sleep(0.01)
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path, payload=50_000)
    made.lock()
    return made


def test_a_task_tells_stages_and_bytes(house: House) -> None:
    with serving(house.offer) as index:
        index.faults = [Fault("/files/", "slow", times=-1, step=5000, seconds=0.005)]
        task = house.task("install", index.url)
        finish(task, lambda task: task.stage == "Downloading" and 0 < task.fraction < 1)
        size = sum(path.stat().st_size for path in house.wheels.values())
        assert task.total_bytes == size
        assert not task.finished
        finish(task)
    assert (task.error, task.cancelled) == (None, False)
    assert task.words[0].startswith("The environment cpu is ready")
    assert house.ready()
    task = finish(house.task("verify", CLOSED))
    assert "as they were installed" in task.words[0]
    (house.places.environment("cpu") / "espalier.json").unlink()
    task = house.task("verify", CLOSED)
    while not task.finished:
        task.step()
        time.sleep(0.01)
    assert task.error is not None
    assert task.error.code == "environment_stamp"
    assert finish(house.task("remove", CLOSED)).words == ["The environment cpu is removed."]


@pytest.mark.parametrize("act", ["cancel", "close", "kill -9"])
def test_a_task_ends_at_once_and_goes_on_where_it_was(house: House, act: str) -> None:
    quiet = 2 * PATIENCE_S
    with serving(house.offer) as index:
        # One file comes, half of another, and then the host falls silent for longer than the test would wait.
        index.faults = [
            Fault("/files/pillow", "cut", at=0.5),
            Fault("/files/pillow", "quiet", times=-1, seconds=quiet),
        ]
        task = house.task("install", index.url)
        finish(task, lambda task: index.asked_for("/files/pillow") == 2)
        begun = time.monotonic()
        if act == "cancel":
            task.cancel()
        elif act == "close":
            task.close()
        else:
            os.kill(task.pid or 0, getattr(signal, "SIGKILL", signal.SIGTERM))
        while not task.finished:
            task.step()
            time.sleep(0.01)
        assert time.monotonic() - begun < quiet / 4
        assert task.cancelled == (act == "cancel")
        assert (task.error is None) == (act == "cancel")
        assert house.status.condition is Condition.INSTALLABLE
        index.faults = []
        assert finish(house.task("install", index.url)).error is None
        assert index.asked_for("/files/numpy") == 1
        assert [offset for path, offset in index.ranges if "pillow" in path][-1] > 0
    assert house.ready()


def runs(pid: str) -> bool:
    """Tell whether the process is there and alive."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends the child by its job object, which needs Windows")
def test_a_task_ends_with_its_parent(house: House) -> None:
    with serving(house.offer) as index:
        index.faults = [Fault("/files/", "slow", times=-1, step=100, seconds=0.05)]
        places = house.places
        arguments = (ROOT, places.root, places.bundled[0], places.locks, index.url)
        with subprocess.Popen(
            [sys.executable, "-c", PARENT, *map(str, arguments)], stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            child = parent.stdout.readline().strip()
            assert runs(child)
            parent.kill()
        wait_for(lambda: not runs(child), 0.05)
        index.faults = []
        house.run("install", index.url)
    assert house.ready()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="what a process was given is seen on Linux alone")
def test_secrets_travel_through_the_pipe_alone(house: House) -> None:
    with serving(house.offer) as index:
        index.faults = [Fault("/files/", "slow", times=-1, step=100, seconds=0.05)]
        url = index.url.replace("http://", "http://someone:hush-hush@")
        task = house.task("install", url, hub_token="hf_hush")
        finish(task, lambda task: task.done_bytes > 0)
        told = b"".join(Path(f"/proc/{task.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        assert len(told) > 100
        assert b"hush" not in told
        task.cancel()
        finish(task)
    assert task.cancelled


def test_two_blenders_at_once(house: House) -> None:
    with serving(house.offer) as index:
        index.faults = [Fault("/files/", "slow", times=-1, step=2000, seconds=0.05)]
        first = house.task("install", index.url)
        finish(first, lambda task: task.stage == "Downloading")
        second = house.task("install", index.url)
        while not second.finished:
            second.step()
            time.sleep(0.01)
        assert second.error is not None
        assert second.error.code == "environment_busy"
        assert not first.finished
        index.faults = []
        finish(first)
        assert first.error is None
        assert finish(house.task("install", index.url)).words == ["The environment cpu is installed already."]
    assert house.ready()


def test_a_task_for_nothing_that_is_known_says_so(tmp_path: Path) -> None:
    task = Task(Order("install", "unknown"), Places(tmp_path), Sources())
    while not task.finished:
        task.step()
        time.sleep(0.01)
    assert task.error is not None
    assert (task.error.code, "cpu, cuda, weights" in task.error.remedy) == ("environment_unknown", True)
