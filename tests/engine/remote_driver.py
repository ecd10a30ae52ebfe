# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that drives a queue with the remote engine, as a Blender does, and is killed by the tests.

Reads one JSON object from its standard input: `repository`, `root` (the user folder), `account`, `scale`, `image`,
`count`, `env` (of the worker), `point` (of a transition, at which to die), `quit_in_s` (end in good
order after so long, done or not).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

told: dict[str, Any] = json.loads(sys.stdin.readline())
sys.path.insert(0, told["repository"])

from engine.jobs.job import State  # noqa: E402
from engine.request import GenerationRequest  # noqa: E402
from tests.engine.queue_harness import open_queue  # noqa: E402
from tests.engine.remote_queue import launch_remote  # noqa: E402
from tests.support.waiting import PATIENCE_S  # noqa: E402


def main() -> None:
    """Bring all jobs to their end, then print "done"."""
    root, point = Path(told["root"]), told.get("point")

    def trace(passed: str) -> None:
        with open(root / "points", "a") as file:
            file.write(f"{passed}\n")
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    launch = launch_remote(told["scale"], **told.get("env", {}))
    queue = open_queue(root, launch, account=lambda engine: told["account"], trace=trace, most_attempts=1000)
    print("open", flush=True)
    queue.resume()
    for number in range(len(queue.jobs()), told["count"]):
        queue.submit(GenerationRequest.create(told["image"], "remote", {"seed": number}))
    quit_in = told.get("quit_in_s")
    deadline = time.monotonic() + (PATIENCE_S if quit_in is None else quit_in)
    while queue.busy:
        queue.step()
        if time.monotonic() > deadline:
            break
        time.sleep(min(queue.delay_s(), 0.005))
    waiting = [job for job in queue.jobs() if job.active]
    queue.close()
    print("closed" if waiting else "done", flush=True)
    assert quit_in is not None or not waiting, [(job.state, job.stage, job.note) for job in waiting]
    assert not [job for job in queue.jobs() if job.state is State.FAILED], [job.error for job in queue.jobs()]


if __name__ == "__main__":
    main()
