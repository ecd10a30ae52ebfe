# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a timer's tick keeps Blender's main thread while four draft jobs run side by side.

A tick is what the session's timer does but the import itself: step the queue, and look at the jobs and the delay to
the next tick. Of five rounds, each from the start of the workers to the last result: `tick_p99_ms` is the 99th
percentile of all ticks, `tick_max_ms` the median of the longest of each round. Both are on the wall clock, other
programs and all; `tick_cpu_p99_ms` is the processor time of this thread.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from engine.request import GenerationRequest
from engine.workers.launch import current_launch
from tests.support import extension

SLOTS = 4
JOBS = 8
ROUNDS = 5
LEAST_TICKS = 100
PICTURE = extension.ROOT / "tests" / "data" / "rocket.png"
P99_BAR_MS = 5.0
MAX_BAR_MS = 16.0


def measure(root: Path) -> tuple[list[float], list[float]]:
    """Run the jobs; return the seconds of each tick, on the wall clock and of this thread's processor time."""
    queue = JobQueue(root / "user", lambda engine: current_launch(), slots={"draft": SLOTS})
    wall, processor = [], []
    for number in range(JOBS):
        queue.submit(GenerationRequest.create(PICTURE, "draft", name=f"rocket {number}"))
    while queue.busy:
        began, began_cpu = time.perf_counter(), time.thread_time()
        queue.step()
        queue.jobs()
        delay = queue.delay_s()
        wall.append(time.perf_counter() - began)
        processor.append(time.thread_time() - began_cpu)
        time.sleep(delay)
    failed = [job for job in queue.jobs() if job.state is not State.READY]
    queue.close()
    if failed:
        raise SystemExit(f"{len(failed)} of {JOBS} jobs failed: {failed[0].error}\n{failed[0].error.detail}")
    return wall, processor


def percentile(values: list[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed, in milliseconds."""
    return 1000 * sorted(values)[min(int(len(values) * share), len(values) - 1)]


def main() -> None:
    """Measure, and print one JSON object."""
    extension.enable()  # Blender unpacks the wheels that the workers need
    wall, processor, longest = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="espalier tick ") as folder:
            round_wall, round_processor = measure(Path(folder))
        if len(round_wall) < LEAST_TICKS:
            raise SystemExit(f"only {len(round_wall)} ticks in a round: too few to say anything")
        longest.append(max(round_wall))
        wall += round_wall
        processor += round_processor
    print(f"{len(wall)} ticks, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    p99, most, cpu = percentile(wall, 0.99), 1000 * statistics.median(longest), percentile(processor, 0.99)
    measured = {
        "tick_p99_ms": (p99, P99_BAR_MS),
        "tick_max_ms": (most, MAX_BAR_MS),
        "tick_cpu_p99_ms": (cpu, None),
    }
    print(
        json.dumps(
            {
                name: {
                    "value": round(value, 3),
                    "unit": "ms",
                    "peer": None,
                    "ratio": None,
                    "bar": bar,
                    "ok": bar is None or value <= bar,
                }
                for name, (value, bar) in measured.items()
            }
        )
    )


if __name__ == "__main__":
    main()
