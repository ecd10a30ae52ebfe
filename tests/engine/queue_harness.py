# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of workers and queues share: scripted requests, queues on them, and a look at all processes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.jobs.job import Job, State
from engine.jobs.queue import JobQueue
from engine.request import GenerationRequest
from engine.workers.launch import Launch, current_launch
from engine.workers.process import Limits
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = Path(__file__).resolve().parent / "backends_for_tests"
QUICK = Limits(silent_s=120.0, cancel_s=0.4, terminate_s=0.4)


def scripted(create: str = "create_light", **env: str) -> Launch:
    """Return the launch of a worker with the scripted backend that its function `create` returns."""
    launch = current_launch(ROOT)
    return replace(launch, paths=(*launch.paths, str(BACKENDS)), backend=f"scripted:{create}", env=env)


def request(script: str, image: str = "picture.png", engine: str = "draft") -> GenerationRequest:
    """Return a request whose name is the script that the backend follows."""
    return GenerationRequest.create(f"/pictures/{image}", engine, name=script)


def user_folder(root: Path) -> Path:
    """Make `root` a user folder whose workers find their modules compiled, as they do from their second start on."""
    compiled = ROOT / ".cache" / "compiled"
    with suppress(OSError):  # it is there, or cannot be made: what is opened there meets the trouble itself
        compiled.mkdir(parents=True, exist_ok=True)
        (root / "cache").mkdir(parents=True, exist_ok=True)
        (root / "cache" / "bytecode").symlink_to(compiled, target_is_directory=True)
    return root


def open_queue(root: Path, launch: Launch | None = None, **options: Any) -> JobQueue:
    """Return a queue with workers of the scripted backend and little patience."""
    launch = launch or scripted()
    return JobQueue(user_folder(root), lambda engine: launch, **{"limits": QUICK, **options})


def drive(queue: JobQueue, until: Callable[[], bool] | None = None) -> list[Job]:
    """Step `queue` until it has nothing to do, or `until` says so; return every snapshot that it reported."""
    seen: list[Job] = []
    deadline = time.monotonic() + PATIENCE_S
    while not (until() if until else not queue.busy):
        seen += queue.step()
        assert time.monotonic() < deadline, [(job.request.name, job.state, job.stage) for job in queue.jobs()]
        time.sleep(min(queue.delay_s(), 0.01))
    return seen + queue.step()


def reached(queue: JobQueue, job: str, state: State) -> Callable[[], bool]:
    """Return a condition for `drive`: `job` is in `state`."""
    return lambda: queue.job(job).state is state


def states(seen: list[Job], job: str) -> list[State]:
    """Return the states that `job` was reported in, each once in a row."""
    row: list[State] = []
    for snapshot in seen:
        if snapshot.id == job and (not row or row[-1] is not snapshot.state):
            row.append(snapshot.state)
    return row


def transitions(root: Path, job: str) -> list[str]:
    """Return all states that the ledger below `root` remembers of `job`, in order."""
    connection = sqlite3.connect(root / "ledger.sqlite3")
    try:
        rows = connection.execute("SELECT state FROM transitions WHERE job = ? ORDER BY serial", (job,)).fetchall()
    finally:
        connection.close()
    return [state for (state,) in rows]


def library(root: Path) -> set[str]:
    """Return the names of all that lies in the library below `root`."""
    return {path.name for path in (root / "library").iterdir()}


def processes(word: str) -> set[int]:
    """Return the ids of all living processes but this one that have `word` in their command line."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if os.fsencode(word) in command and state != "Z" and int(folder.name) != os.getpid():
            found.add(int(folder.name))
    return found


def gone(word: str, within_s: float = 20.0) -> bool:
    """Tell whether all processes with `word` in their command line are gone within some seconds."""
    deadline = time.monotonic() + within_s
    while processes(word):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
