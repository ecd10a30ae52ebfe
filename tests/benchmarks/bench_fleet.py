# SPDX-License-Identifier: GPL-3.0-or-later
"""How much more two actors of a fleet make than one, on Ray and with the draft engine: `value`.

Two actors can only make so much more as the machine has to give. `peer` is how much more two bare processes make than
one, of the same jobs with the same engine, without Ray and without a server; all four are measured in turn, several
times. The bar is 1.7 where two bare processes make twice as much, and so much less where they do not: it is on the
`ratio` of the two. What counts is the time in which nobody was idle: from when each had made its first job to when
there were no more jobs than makers.

A job is what an order asks for that names its image and nothing else.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from engine import backends
from engine.backends.base import JobRun
from engine.request import GenerationRequest
from tests.server.fleet_harness import Fleet
from tests.server.harness import ROOT, ask
from tests.support.waiting import wait_for

ROUNDS = 5
JOBS = {1: 7, 2: 12}
"""How many jobs one maker is given, and two."""
BAR = 1.7 / 2.0
WORTH = 1.5
"""Where two bare processes make less than so much more than one, others use the machine, and nothing is judged."""
PLAIN = {"resolution": "1024", "texture_size": "2048", "decimation_target": 500_000}
"""What an order asks for that says nothing of it."""
_ASK_S = 1.0
"""How often the client asks. An artist's asks every five seconds."""


class Bare:
    """A process of this benchmark that makes jobs."""

    backend: Any = None

    @classmethod
    def begin(cls) -> None:
        """Make the engine, and have it warm."""
        cls.backend = backends.create("draft")
        cls.make(0)

    @classmethod
    def make(cls, seed: int) -> float:
        """Make a job, and return when it was made."""
        image = ROOT / "tests" / "data" / "rocket.png"
        with tempfile.TemporaryDirectory() as folder:
            request = GenerationRequest.create(str(image), "draft", {**PLAIN, "seed": seed}, "Asset")
            cls.backend.generate(
                request, Path(folder), JobRun(cls.backend.stages, lambda progress: None, lambda: False)
            )
        return time.time()


def rate(finishes: Iterable[float], makers: int) -> float:
    """Return the jobs a second while nobody was idle; `finishes` are in seconds."""
    ends = sorted(finishes)
    first, last = makers - 1, len(ends) - makers
    return (last - first) / (ends[last] - ends[first])


def of_fleet(fleet: Fleet, makers: int, seed: int) -> float:
    """Return the jobs a second that a fleet makes."""
    jobs = [fleet.create(seed + number, **PLAIN) for number in range(JOBS[makers])]
    listing = f"/v1/jobs?limit={len(jobs)}"
    wait_for(lambda: all(job["status"] == "completed" for job in ask(fleet.url, "GET", listing).json()["data"]), _ASK_S)
    fleet.once(jobs)
    return rate(fleet.told("SELECT id, finished FROM jobs", jobs).values(), makers)


def main() -> None:
    """Measure, and print the measurement as the last line."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray has it in an actor of one processor
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        spawn.Pool(1, Bare.begin) as alone,
        spawn.Pool(2, Bare.begin) as both,
    ):
        two = Fleet(Path(folder, "two", "root"))
        try:
            one = Fleet(Path(folder, "one", "root"), name="one", beside=two, least=1, most=1)
            ways: dict[str, Callable[[int], float]] = {
                "one bare process": lambda seed: rate(alone.map(Bare.make, range(JOBS[1]), 1), 1),
                "two bare processes": lambda seed: rate(both.map(Bare.make, range(JOBS[2]), 1), 2),
                "one actor": lambda seed: of_fleet(one, 1, seed),
                "two actors": lambda seed: of_fleet(two, 2, seed),
            }
            for way in ways.values():
                way(0)
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(ROUNDS):
                for name in [*ways] if number % 2 else reversed([*ways]):
                    rates[name].append(ways[name](100 * (number + 1)))
        finally:
            two.stop()
    for name, found in rates.items():
        print(f"{name}: {', '.join(f'{found:.2f}' for found in found)} jobs a second", file=sys.stderr)
    value, peer = gain(rates["one actor"], rates["two actors"]), gain(*list(rates.values())[:2])
    told = {
        "value": round(value, 2),
        "unit": "times",
        "peer": round(peer, 2),
        "ratio": round(value / peer, 3),
        "bar": BAR,
    }
    if peer >= WORTH:
        told["ok"] = value / peer >= BAR
    else:
        print(f"Not judged: others use the machine, of which two processes got {peer:.2f} cores.", file=sys.stderr)
    print(json.dumps({"ray_scaling": told}))


def gain(one: list[float], two: list[float]) -> float:
    """Return how much more two make than one, the median of the rounds."""
    return statistics.median(b / a for a, b in zip(one, two, strict=True))


if __name__ == "__main__":
    main()
