# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that drives a queue and is killed by the tests, or kills itself at a point of a transition.

Arguments: the repository, the user folder, the prefix of the images' names, how many jobs, and a JSON object: `point`
("before-commit running") at which to die, `free` (whether the work may be repeated), `then` ("import", "cancel" or
"fail": what happens to the jobs), `script` (what the backend does).
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from engine.jobs.job import State
from tests.engine.queue_harness import open_queue, request, scripted


def main() -> None:
    """Bring all jobs to their end, then print "done"."""
    root, prefix, count, options = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), json.loads(sys.argv[5])
    point, then = options.get("point"), options.get("then", "")

    def trace(passed: str) -> None:
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    free = frozenset({"draft"}) if options.get("free", True) else frozenset()
    launch = scripted(ESPALIER_TEST_PAID=str(root / "paid"))
    queue = open_queue(root, launch, slots={"draft": 2}, most_attempts=10_000, free=free, trace=trace)
    print("open", flush=True)
    queue.resume()
    ours = set(submitted(root, prefix))
    script = {"cancel": "slow 30", "fail": "bug"}.get(then, options.get("script", "quick"))
    for number in range(count):
        if f"{prefix}{number}" not in ours:
            queue.submit(request(script, f"{prefix}{number}"))
    while queue.busy or not settled(root, prefix, count):
        for job in queue.step():
            if then == "cancel" and job.state is State.RUNNING and not job.cancelling:
                queue.cancel(job.id)
            if then == "import" and job.state is State.READY:
                queue.mark_imported(job.id)
        if not queue.busy:
            queue.resume()  # a killed queue's lock may outlive it by the moment in which it was starting a process
        time.sleep(min(queue.delay_s(), 0.005))
    queue.close()
    print("done", flush=True)


def submitted(root: Path, prefix: str) -> dict[str, str]:
    """Return the state of each image that is in the ledger and begins with `prefix`."""
    connection = sqlite3.connect(root / "ledger.sqlite3", timeout=10)
    try:
        rows = connection.execute("SELECT request, state FROM jobs").fetchall()
    finally:
        connection.close()
    images = {os.path.basename(json.loads(text)["image"]): state for text, state in rows}
    return {image: state for image, state in images.items() if image.startswith(prefix)}


def settled(root: Path, prefix: str, count: int) -> bool:
    """Tell whether all jobs are in the ledger, and at an end."""
    found = submitted(root, prefix)
    return len(found) == count and not set(found.values()) & {"queued", "submitting", "running", "fetching"}


if __name__ == "__main__":
    main()
