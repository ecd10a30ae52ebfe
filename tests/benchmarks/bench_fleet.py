# SPDX-License-Identifier: GPL-3.0-or-later
"""How much more a fleet of two actors makes than one of a single actor, on Ray and with the draft engine.

The time is from the first job's begin to the last one's end, as the ledger has them. Two actors can only make so much
more as the machine has to give: `peer` is what two processes that only calculate get done beside each other, against
one alone, the worse of before and after. The bar holds where that says that two cores were free.
"""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from tests.server.fleet_harness import Fleet
from tests.server.harness import ended

JOBS = 16
BAR = 1.7
FREE = 1.9
"""Two cores count as free where two processes get this much done, against one."""
_WORK = 4_000_000


def calculate(_: int) -> int:
    """Keep a core busy for half a second or so."""
    return sum(number * number for number in range(_WORK))


def cores() -> float:
    """Return how much two processes get done now beside each other, against one alone."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(calculate, range(2))
        took = []
        for count in (2, 4):
            began = time.perf_counter()
            pool.map(calculate, range(count), chunksize=2 if count == 2 else 1)
            took.append(time.perf_counter() - began)
    return 2.0 * took[0] / took[1]


def seconds(root: Path, makers: int) -> float:
    """Return how long `makers` actors take for all jobs, warm."""
    fleet = Fleet(root, least=makers, most=makers, cpus=1.0)
    try:
        for warm in [fleet.create(seed) for seed in range(2 * makers)]:
            ended(fleet.url, warm)
        fleet.once(jobs := [fleet.create(100 + seed) for seed in range(JOBS)])
    finally:
        fleet.stop()
    connection = sqlite3.connect(root / "ledger.sqlite3")
    marks = ", ".join("?" * len(jobs))
    query = f"SELECT max(finished) - min(started) FROM jobs WHERE id IN ({marks})"
    (took,) = connection.execute(query, jobs).fetchone()
    connection.close()
    return float(took)


def main() -> None:
    """Measure, and print the measurement as the last line."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        before = cores()
        one, two = (seconds(Path(folder, str(makers), "root"), makers) for makers in (1, 2))
        free = min(before, cores())
    print(f"{JOBS} jobs in {one:.1f} s with one actor, in {two:.1f} s with two", file=sys.stderr)
    gain = one / two
    told = {
        "value": round(gain, 2),
        "unit": "times",
        "peer": round(free, 2),
        "bar": BAR,
    }
    if free >= FREE:
        told["ok"] = gain >= BAR
    else:
        print(f"Not judged: two cores were not free, {free:.2f} of them were.", file=sys.stderr)
    print(json.dumps({"ray_scaling": told}))


if __name__ == "__main__":
    main()
