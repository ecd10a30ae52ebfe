# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server answers under load while jobs run, and what a kill costs.

200 clients poll a job each, every second, and 50 creations come in each second, for 20 seconds, all on loopback and on
the processor that the server has, too. `server_poll_p99_ms` and `server_create_p99_ms` are the times that 99 of 100 of
them took, as their clients saw it, and `server_p99_ms` is the longer of the two; a creation is answered once its job is
on the disk. They are those of the machine as it is: where others use its processors, `server_cpu` tells more, the
server's processor time per request under that very load, beside that of an API on the same framework that does nothing
(with `/proc` alone). What the server's thread spent waiting for a processor is told on standard error.

`server_jobs_lost` is how many of 1,000 accepted jobs were not finished after the server was killed while it took them
in, and killed again.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import requests

from tests.benchmarks import bare_api
from tests.server.harness import ROOT, Process, ask, body, ended, free_port
from tests.support.waiting import wait_for

POLLERS, CREATES_A_SECOND, SECONDS, JOBS = 200, 50, 20, 1000
P99_MS = 100.0
MOST_CPU = 4.0
"""Times the processor time of an API that does nothing: no creation of it waits for a disk, no worker is heard."""
OPTIONS = ("--requests-per-minute", "1000000", "--queue", "5000")
CREATE = "/v1/3d/generations"
JSON = {"Content-Type": "application/json"}


async def load(url: str) -> tuple[list[float], list[float]]:
    """Return the seconds that each poll and each creation took. Raises SystemExit for a failed one."""
    content = json.dumps(body()).encode()
    polls: list[float] = []
    creates: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def timed(took: list[float], wanted: int, method: str, address: str, **options: Any) -> bytes:
            began = time.perf_counter()
            async with session.request(method, address, **options) as response:
                answer = await response.read()
            took.append(time.perf_counter() - began)
            if response.status != wanted:
                raise SystemExit(f"{response.status} {answer[:200]!r}")
            return answer

        creation = {"data": content, "headers": JSON}
        first = await timed([], 202, "POST", url + CREATE, **creation)
        poll = f"{url}/v1/jobs/{json.loads(first)['job_id']}"
        begin = time.perf_counter()

        async def poller(number: int) -> None:
            for turn in range(SECONDS):
                await asyncio.sleep(begin + turn + number / POLLERS - time.perf_counter())
                await timed(polls, 200, "GET", poll)

        async def creator(number: int) -> None:
            await asyncio.sleep(begin + number / CREATES_A_SECOND - time.perf_counter())
            await timed(creates, 202, "POST", url + CREATE, **creation)

        everyone = [poller(number) for number in range(POLLERS)]
        everyone += [creator(number) for number in range(CREATES_A_SECOND * SECONDS)]
        await asyncio.gather(*everyone)
    return polls, creates


def p99_ms(took: list[float]) -> float:
    """Return the milliseconds that 99 of 100 stay below."""
    return round(statistics.quantiles(took, n=100)[98] * 1000, 1)


def processor_ms(process: int) -> tuple[float, float]:
    """Return how long a process has worked, and how long its first thread has waited for a processor, in ms."""
    ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    waited = Path(f"/proc/{process}/task/{process}/schedstat").read_text().split()[1]
    return sum(map(int, ticks)) * 1000.0 / os.sysconf("SC_CLK_TCK"), int(waited) / 1e6


def under_load(url: str, process: int) -> tuple[list[float], list[float], float]:
    """Return what `load` does, and the milliseconds that the server worked for each request, nan without /proc."""
    known = Path(f"/proc/{process}/schedstat").exists()
    before = processor_ms(process) if known else (float("nan"), 0.0)
    polls, creates = asyncio.run(load(url))
    after = processor_ms(process) if known else before
    each = (after[0] - before[0]) / (len(polls) + len(creates)) if known else before[0]
    for name, took in (("polls", polls), ("creations", creates)):
        median = statistics.median(took) * 1000
        print(f"{len(took)} {name}, median {median:.1f} ms, 99 of 100 within {p99_ms(took)} ms", file=sys.stderr)
    waited = (after[1] - before[1]) / SECONDS / 10
    print(f"{each:.2f} ms of processor a request, {waited:.0f} % of the time waiting for one", file=sys.stderr)
    return polls, creates, each


def bare() -> float:
    """Return the processor time in ms of a request to an API that does nothing, under the same load."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([sys.executable, "-m", bare_api.__name__, str(port)], cwd=ROOT)

    def answers() -> bool:
        try:
            return ask(url, "GET", "/health").status_code == 200
        except requests.ConnectionError:
            return False

    try:
        wait_for(answers, 0.05)
        return under_load(url, server.pid)[2]
    finally:
        server.kill()
        server.wait()


def lost(root: Path) -> int:
    """Return how many of the accepted jobs are not finished after two kills."""
    server = Process(root, 0.0, *OPTIONS)
    jobs: list[str] = []

    def one(seed: int) -> None:
        try:
            jobs.append(ask(server.url, "POST", CREATE, json=body(seed=seed)).json()["job_id"])
        except requests.RequestException:
            return  # killed meanwhile, and therefore not accepted

    with ThreadPoolExecutor(8) as pool:
        first = pool.map(one, range(JOBS))
        wait_for(lambda: len(jobs) >= JOBS // 2)
        server.kill()
        list(first)
        server = Process(root, 0.0, *OPTIONS, port=server.port)
        list(pool.map(one, range(JOBS - len(jobs))))
    server.kill()
    server = Process(root, 0.0, *OPTIONS, port=server.port)
    missing = sum(ended(server.url, job)["status"] != "completed" for job in jobs)
    server.stop()
    return missing


def main() -> None:
    """Measure, and print the measurements as the last line."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = Process(Path(folder, "load", "root"), 0.2, *OPTIONS)
        polls, creates, worked = under_load(server.url, server.process.pid)
        server.kill()
        peer = bare()
        missing = lost(Path(folder, "kill", "root"))
    found: dict[str, Any] = {}
    each = {"server_poll_p99_ms": p99_ms(polls), "server_create_p99_ms": p99_ms(creates)}
    for name, value in {"server_p99_ms": max(each.values()), **each}.items():
        found[name] = {
            "value": value, "unit": "ms", "peer": P99_MS, "ratio": round(value / P99_MS, 4), "bar": 1.0,
            "ok": value <= P99_MS,
        }  # fmt: skip
    if worked > 0.0:
        ratio = round(worked / peer, 2)
        found["server_cpu"] = {
            "value": round(worked, 2), "unit": "ms a request", "peer": round(peer, 2), "ratio": ratio,
            "bar": MOST_CPU, "ok": ratio <= MOST_CPU,
        }  # fmt: skip
    found["server_jobs_lost"] = {"value": missing, "unit": f"of {JOBS}", "bar": 0, "ok": missing == 0}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
