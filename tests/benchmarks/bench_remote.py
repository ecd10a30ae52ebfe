# SPDX-License-Identifier: GPL-3.0-or-later
"""How close 100 jobs come to the fastest way of making them at a server that takes 50 requests a minute.

The server is on loopback and runs six times as fast as the world, and the engine's clock with it, so what this machine
itself takes counts six times, but for the start of the first worker. `remote_schedule_ratio` is the time from the
submission to the last asset in the library, by the time that the best possible client needs (a lower bound, and a
schedule that reaches it, in `tests.engine.remote_schedule`); `remote_refused` is how many requests were too many.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.support import extension

extension.enable()  # Pillow comes with the extension

from engine.jobs.job import State  # noqa: E402
from engine.request import GenerationRequest  # noqa: E402
from tests.engine.queue_harness import drive  # noqa: E402
from tests.engine.remote_harness import picture  # noqa: E402
from tests.engine.remote_queue import open_remote  # noqa: E402
from tests.engine.remote_schedule import clairvoyant_s, least_s  # noqa: E402
from tests.support.api_server import ApiServer  # noqa: E402

JOBS = 100
RATE = 50
SCALE = 6.0
BAR = 1.15


def measure(root: Path, takes_s: list[float]) -> tuple[float, int]:
    """Return the server's seconds that the jobs took, and how many requests it refused."""
    with ApiServer(job_s=lambda number: takes_s[number], scale=SCALE, rate=RATE) as server:
        queue = open_remote(root / "user", server, root / "shared", create="create")
        image = str(picture(root))  # a small one: its encoding would count six times
        begin = server.clock.now()
        for number in range(len(takes_s)):
            queue.submit(GenerationRequest.create(image, "remote", {"seed": number}))
        drive(queue, timeout_s=300)
        first = server.book.admitted[0][0]
        wall = (first - begin) / SCALE + server.clock.now() - first
        ended = Counter(job.state for job in queue.jobs())
        queue.close()
        if ended != {State.READY: len(takes_s)} or server.billed != len(takes_s):
            raise SystemExit(f"{dict(ended)}, {server.billed} billed")
        return wall, server.book.throttled


def main() -> None:
    """Measure, and print the measurements as the last line."""
    chance = random.Random(4)
    takes_s = [chance.uniform(20.0, 90.0) for _ in range(JOBS)]
    best = least_s(takes_s, RATE)
    if best != clairvoyant_s(takes_s, RATE):
        raise SystemExit("the bound is not reached by any known schedule")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        wall, refused = measure(Path(folder), takes_s)
    print(f"{JOBS} jobs in {wall:.1f} s, {best:.1f} s at best, {refused} refused", file=sys.stderr)
    ratio = round(wall / best, 4)
    print(
        json.dumps(
            {
                "remote_schedule_ratio": {
                    "value": ratio, "unit": "x", "peer": 1.0, "ratio": ratio, "bar": BAR, "ok": ratio <= BAR,
                },
                "remote_refused": {"value": refused, "unit": "requests", "bar": 0, "ok": refused == 0},
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
