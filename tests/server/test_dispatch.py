# SPDX-License-Identifier: GPL-3.0-or-later
"""The dispatcher of a fleet without the fleet: turns, deaths, cancels, and another dispatcher after it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import EspalierError
from engine.jobs.job import Job, State
from engine.request import GenerationRequest
from engine.server.desk import OWNER
from engine.server.dispatch import MOST_ATTEMPTS, Died, Dispatcher, unwire, wire


def job(name: str, owner: str = "a") -> Job:
    """Return a new job."""
    return Job(
        name, GenerationRequest.create("/inputs/x", "draft"), State.QUEUED, placement={OWNER: owner}, created=1.0
    )


async def settled(dispatcher: Dispatcher) -> None:
    """Wait until no job is active."""
    async with asyncio.timeout(60):
        while any(job.active for job in dispatcher.jobs()):
            await asyncio.sleep(0.005)


def run(root: Path, at_once: int, make: Any, act: Callable[[Dispatcher], Awaitable[None]]) -> list[Job]:
    """Have `act` done with a dispatcher, and return its jobs once all are at an end."""

    async def body() -> list[Job]:
        dispatcher = Dispatcher(root, at_once, make)
        dispatcher.begin()
        await act(dispatcher)
        await settled(dispatcher)
        dispatcher.close()
        return list(dispatcher.jobs())

    return asyncio.run(body())


def completions(root: Path) -> dict[str, int]:
    """Return how often the ledger saw each job become ready."""
    connection = sqlite3.connect(root / "ledger.sqlite3")
    rows = connection.execute("SELECT job, count(*) FROM transitions WHERE state = 'ready' GROUP BY job").fetchall()
    connection.close()
    return dict(rows)


def test_tokens_take_turns(tmp_path: Path) -> None:
    order: list[str] = []

    async def make(job: Job) -> Mapping[str, Any]:
        order.append(job.id)
        await asyncio.sleep(0.01)
        return {}

    async def act(dispatcher: Dispatcher) -> None:
        for number in range(6):
            await dispatcher.submit(job(f"a{number}", "a"))
        for owner in ("b", "c"):
            for number in range(2):
                await dispatcher.submit(job(f"{owner}{number}", owner))

    run(tmp_path, 1, make, act)
    assert sorted(order) == sorted({f"a{n}" for n in range(6)} | {"b0", "b1", "c0", "c1"})
    late = order.index("b0")
    assert "c0" in order[late : late + 3], "nobody waits for all the jobs of another"
    assert order.index("c1") < order.index("a5")


def test_no_more_than_so_many_at_once(tmp_path: Path) -> None:
    now, most = 0, 0

    async def make(job: Job) -> Mapping[str, Any]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return {}

    async def act(dispatcher: Dispatcher) -> None:
        for number in range(12):
            await dispatcher.submit(job(str(number)))

    assert {one.state for one in run(tmp_path, 3, make, act)} == {State.READY}
    assert most == 3


def test_a_death_is_survived_and_too_many_are_told(tmp_path: Path) -> None:
    tries: dict[str, int] = {}

    async def make(job: Job) -> Mapping[str, Any]:
        tries[job.id] = tries.get(job.id, 0) + 1
        if job.id == "cursed" or tries[job.id] == 1:
            raise Died("gone")
        return {"asset": job.id}

    async def act(dispatcher: Dispatcher) -> None:
        for name in ("one", "two", "cursed"):
            await dispatcher.submit(job(name))

    ended = {one.id: one for one in run(tmp_path, 2, make, act)}
    assert (ended["one"].state, ended["one"].runs, ended["one"].result) == (State.READY, 2, {"asset": "one"})
    assert ended["cursed"].state is State.FAILED
    assert ended["cursed"].error is not None
    assert ended["cursed"].error.code == "worker_died"
    assert tries["cursed"] == MOST_ATTEMPTS
    assert completions(tmp_path) == {"one": 1, "two": 1}


def test_failures_and_cancels(tmp_path: Path) -> None:
    async def make(job: Job) -> Mapping[str, Any]:
        if job.id == "bad":
            raise EspalierError("image_no_subject", path="image")
        if job.id == "bug":
            raise KeyError("x")
        await asyncio.sleep(600)
        return {}

    async def act(dispatcher: Dispatcher) -> None:
        for name in ("bad", "bug", "running", "waiting"):
            await dispatcher.submit(job(name))
        async with asyncio.timeout(60):
            while dispatcher.job("running").state is not State.RUNNING:
                await asyncio.sleep(0.005)
        assert (dispatcher.unfinished("a"), dispatcher.unfinished("b")) == ((2, 2), (2, 0))
        assert (await dispatcher.cancel("waiting")).state is State.CANCELLED
        assert dispatcher.unfinished("a") == (1, 1)
        assert (await dispatcher.cancel("running")).cancelling

    ended = {one.id: one for one in run(tmp_path, 1, make, act)}
    assert {name: one.state.value for name, one in ended.items()} == {
        "bad": "failed", "bug": "failed", "running": "cancelled", "waiting": "cancelled",
    }  # fmt: skip
    assert wire(unwire(wire(ended["bad"]))) == wire(ended["bad"])


def test_the_next_dispatcher_takes_everything_up_and_the_old_one_can_write_no_more(tmp_path: Path) -> None:
    gate = asyncio.Event()
    made: list[str] = []

    async def body() -> None:
        async def slow(job: Job) -> Mapping[str, Any]:
            await gate.wait()
            made.append(f"old {job.id}")
            return {"asset": "old"}

        async def quick(job: Job) -> Mapping[str, Any]:
            made.append(f"new {job.id}")
            return {"asset": "new"}

        old = Dispatcher(tmp_path, 2, slow)
        for number in range(4):
            await old.submit(job(str(number)))
        async with asyncio.timeout(60):
            while sum(one.state is State.RUNNING for one in old.jobs()) < 2:
                await asyncio.sleep(0.005)
        new = Dispatcher(tmp_path, 2, quick)
        new.begin()
        await settled(new)
        gate.set()  # the old one was only thought to be dead
        await asyncio.sleep(0.1)
        assert {one.result["asset"] for one in new.jobs()} == {"new"}
        new.close()
        old.close()

    asyncio.run(body())
    assert completions(tmp_path) == {str(number): 1 for number in range(4)}
    assert sum(line.startswith("new") for line in made) == 4
