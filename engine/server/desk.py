# SPDX-License-Identifier: GPL-3.0-or-later
"""The one JobQueue of a server, driven by the event loop: orders go in, states come out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from anyio import to_thread

from ..errors import EspalierError
from ..jobs.job import Job, State
from ..jobs.library import ASSET
from ..jobs.queue import JobQueue
from ..locking import lock
from ..request import GenerationRequest
from ..workers.launch import Launch, current_launch
from .intake import Intake
from .log import log
from .metrics import Metrics
from .order import Order
from .settings import Settings

HISTORY = 100_000
"""Finished jobs of an earlier run that are still known, which may all have been finished within the time to keep."""
OWNER, FORMAT = "token", "response_format"
_SWEEP_S = 30.0
_AFTER_FAILURE_S = 0.5
_WORKING = frozenset({State.SUBMITTING, State.RUNNING, State.FETCHING})


class Desk:
    """Takes orders of tokens and tells them of their own jobs. All of it belongs on one event loop.

    `owner` is the name of a token, "" where the server asks for none.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        launch: Callable[[str], Launch] = lambda engine: current_launch(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.draining = False
        self.intake = Intake(settings)
        self._settings, self._metrics, self._launch, self._clock = settings, metrics, launch, clock
        self._queue: JobQueue
        self._ordering = 0
        self._unfinished: dict[str, str] = {}
        self._shares: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._lock: int | None = None
        self._ending = False
        self._turns: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what an earlier run has left, and begin. Raises EspalierError."""
        settings = self._settings
        settings.root.mkdir(parents=True, exist_ok=True)
        self._lock = _alone(settings.root)
        slots = {settings.engine: settings.slots}
        self._queue = await to_thread.run_sync(
            partial(JobQueue, settings.root, self._launch, slots=slots, history=HISTORY)
        )
        await to_thread.run_sync(self._queue.resume)
        self._expire()
        unfinished = [job for job in self._queue.jobs() if job.active]
        for job in unfinished:
            self._count(job.id, str(job.placement.get(OWNER, "")))
        await to_thread.run_sync(self.intake.sweep, [job.request.origin for job in unfinished])
        self._turns = asyncio.create_task(self._drive())

    async def close(self) -> None:
        """End the workers; unfinished jobs stay in the ledger for the next run."""
        self._ending = True
        self._wake.set()
        if self._turns is not None:
            with contextlib.suppress(EspalierError):
                await self._turns
            await to_thread.run_sync(self._queue.close)
        if self._lock is not None:
            _release(self._lock)

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, begin nothing that waits, and return once nothing runs, after `timeout_s` at the latest."""
        self.draining = True
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not any(job.state in _WORKING for job in self._queue.jobs()) and not self._ordering:
                return
            await asyncio.sleep(0.05)

    async def admit(self, owner: str) -> None:
        """Raise EspalierError where `owner` may not order now: `server_draining`, `server_queue`, `server_full`."""
        if self.draining or self._ending:
            raise EspalierError("server_draining")
        ensure_room(self._settings, len(self._unfinished), self._shares[owner])

    async def order(self, owner: str, order: Order) -> Job:
        """Queue a generation, and return it once it is in the ledger. Raises EspalierError."""
        self._ordering += 1
        try:
            return await self._order(owner, order)
        finally:
            self._ordering -= 1

    async def _order(self, owner: str, order: Order) -> Job:
        await self.admit(owner)
        path = await self.intake.take(order.image)
        try:
            await self.admit(owner)  # others came while the image did
            request = GenerationRequest.create(path, self._settings.engine, order.parameters, "Asset")
            placement = {OWNER: owner, FORMAT: order.parameters["response_format"]}
            job_id = self._queue.submit(request, placement)
        except EspalierError:
            await to_thread.run_sync(self.intake.drop, path)
            raise
        self._count(job_id, owner)
        self._metrics.created.inc()
        if len(self._unfinished) <= self._settings.slots:  # else the next step, soon, has others to look after as well
            self._wake.set()
        if (writing := self._queue.writing(job_id)) is not None:
            await asyncio.shield(asyncio.wrap_future(writing))
        return self._queue.job(job_id)

    async def job(self, owner: str, job_id: str) -> Job:
        """Return a job of `owner`. Raises EspalierError `server_job_unknown` for any other."""
        try:
            job = self._queue.job(job_id)
        except EspalierError:
            raise EspalierError("server_job_unknown", job=job_id[:80]) from None
        if job.placement.get(OWNER) != owner or self._is_over(job):
            raise EspalierError("server_job_unknown", job=job_id[:80])
        return job

    async def jobs(self, owner: str) -> list[Job]:
        """Return all jobs of `owner` that are kept, newest first."""
        return [job for job in self._queue.jobs() if job.placement.get(OWNER) == owner and not self._is_over(job)]

    async def cancel(self, owner: str, job_id: str) -> Job:
        """Stop a job of `owner` that has not come to an end. Raises EspalierError `server_job_unknown`."""
        job = await self.job(owner, job_id)
        if job.active:
            self._queue.cancel(job.id)
            self._wake.set()
        return self._queue.job(job.id)

    async def asset(self, job_id: str) -> Path:
        """Return the GLB of a finished job. Raises EspalierError `server_link_expired`."""
        try:
            job = self._queue.job(job_id)
        except EspalierError:
            raise EspalierError("server_link_expired") from None
        if job.folder is None or self._is_over(job):
            raise EspalierError("server_link_expired")
        return job.folder / ASSET

    def expires(self, job: Job) -> float:
        """Return when a finished job and its asset are forgotten, in seconds since 1970."""
        return (job.finished or job.created) + self._settings.keep_s

    async def recount(self) -> None:
        """Do nothing: `counts` looks at the jobs themselves."""

    def counts(self) -> Counter[str]:
        """Return how many jobs are in each state."""
        return Counter(job.state.value for job in self._queue.jobs())

    def _count(self, job_id: str, owner: str) -> None:
        self._unfinished[job_id] = owner
        self._shares[owner] += 1

    def _is_over(self, job: Job) -> bool:
        return not job.active and self._clock() > self.expires(job)

    async def _drive(self) -> None:
        swept = time.monotonic()
        while not self._ending:
            self._wake.clear()
            try:
                await self._step()
                if time.monotonic() - swept > _SWEEP_S:
                    swept = time.monotonic()
                    self._expire()
            except Exception:  # the server goes on: one job of thousands met something unforeseen
                log().exception("step")
                await asyncio.sleep(_AFTER_FAILURE_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._queue.delay_s())

    async def _step(self) -> None:
        for job in self._queue.step(begin=not self.draining):
            await self._note(job)

    async def _note(self, job: Job) -> None:
        if job.active or job.id not in self._unfinished:
            return
        self._shares[self._unfinished.pop(job.id)] -= 1
        self._metrics.finished.labels(job.state.value).inc()
        if job.started is not None and job.finished is not None and job.state is State.READY:
            self._metrics.job_seconds.observe(job.finished - job.started)
        await to_thread.run_sync(self.intake.drop, job.request.origin)

    def _expire(self) -> None:
        for job in self._queue.jobs():
            if self._is_over(job):
                with contextlib.suppress(EspalierError):  # something is on its way for it: next time
                    self._queue.discard(job.id)


def ensure_room(settings: Settings, in_all: int, of_token: int) -> None:
    """Raise EspalierError `server_full` or `server_queue` where so many unfinished jobs leave no room for another."""
    if in_all >= settings.most_in_all:
        raise EspalierError("server_full", count=in_all)
    if of_token >= settings.most_of_token:
        raise EspalierError("server_queue", count=of_token)


def _alone(root: Path) -> int:
    """Hold the folder for this process. Raises EspalierError `server_root_shared`."""
    descriptor = os.open(root / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if lock(descriptor):
        return descriptor
    os.close(descriptor)
    raise EspalierError("server_root_shared", path=root)


def _release(descriptor: int) -> None:
    os.close(descriptor)
