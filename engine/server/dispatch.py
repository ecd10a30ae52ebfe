# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of many GPUs: one ledger, fair turns between tokens, and a new try when the actor of a job dies.

Nothing here knows Ray; `make` carries out one job, wherever that is.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import EspalierError
from ..files import make_folder
from ..jobs.job import Job, State
from ..jobs.ledger import Ledger, Move, Row
from ..request import request_from_json
from .desk import HISTORY, OWNER
from .log import log

MOST_ATTEMPTS = 5
ASSET = "asset"
"""Where in a job's result the key of its asset in the store is."""
REFUSED = "refused"
"""Where the failure is, in place of a job, for a front whose job was not taken."""


class Died(Exception):
    """What made a job is gone, and the job may be made elsewhere."""


Make = Callable[[Job], Awaitable[Mapping[str, Any]]]
"""Returns the result of a job. Raises Died, EspalierError for a failure that a person can meet, or CancelledError."""


class Dispatcher:
    """All jobs, of which at most `at_once` are made side by side. `root` holds the ledger.

    A job is completed by its first transition to ready, which the ledger takes once: a run that was thought dead and
    finishes all the same changes nothing.
    """

    def __init__(self, root: Path, at_once: int, make: Make, forget: Callable[[Job], None] = lambda job: None) -> None:
        make_folder(root)
        self._owner = secrets.token_hex(16)
        self._ledger = Ledger(root / "ledger.sqlite3", self._owner)
        self._at_once, self._make, self._forget = at_once, make, forget
        self._jobs: dict[str, Job] = {}
        self._serials: dict[str, int] = {}
        self._waiting: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._served: Counter[str] = Counter()
        self._turns = 0
        # There is one dispatcher at a time: whoever else owns a job is gone, and its next transition is refused.
        for row in self._ledger.adopt(lambda owner: owner == self._owner, self._again):
            self._keep(row)
            self._waiting.append(row.job.id)
        for row in self._ledger.history(HISTORY):
            if not row.job.cleared:
                self._keep(row)

    def begin(self) -> None:
        """Start what waits; to be called on the event loop."""
        while len(self._tasks) < self._at_once and self._waiting:
            job_id = self._next()
            self._waiting.remove(job_id)
            self._tasks[job_id] = asyncio.ensure_future(self._run(job_id))

    async def submit(self, job: Job) -> Job:
        """Take a new job, and return it once it is in the ledger. Raises EspalierError."""
        await asyncio.wrap_future(self._ledger.insert(job))
        self._jobs[job.id], self._serials[job.id] = job, 0
        self._waiting.append(job.id)
        self.begin()
        return job

    async def cancel(self, job_id: str) -> Job:
        """Stop a job that has not come to an end. Raises EspalierError `job_unknown`."""
        job = self.job(job_id)
        if job_id in self._waiting:
            self._waiting.remove(job_id)
            await self._move(job_id, State.CANCELLED, finished=time.time())
            self._forget(self._jobs[job_id])
        elif (task := self._tasks.get(job_id)) is not None:
            self._jobs[job_id] = replace(job, cancelling=True)
            task.cancel()
        return self._jobs[job_id]

    def job(self, job_id: str) -> Job:
        """Return a job. Raises EspalierError `job_unknown`."""
        if job_id not in self._jobs:
            raise EspalierError("job_unknown", job=job_id)
        return self._jobs[job_id]

    def jobs(self) -> Iterable[Job]:
        """Return all jobs, newest first."""
        return sorted(self._jobs.values(), key=lambda job: (job.created, job.id), reverse=True)

    def unfinished(self, owner: str) -> tuple[int, int]:
        """Return how many jobs have not come to an end, of all tokens and of `owner`."""
        active = [*self._waiting, *self._tasks]
        return len(active), sum(self._whose(job_id) == owner for job_id in active)

    async def drop(self, job_id: str) -> None:
        """Know a finished job no more, nor let a later dispatcher know it. Raises EspalierError."""
        if not self.job(job_id).active:
            await asyncio.wrap_future(self._ledger.clear([job_id]))
            del self._jobs[job_id], self._serials[job_id]

    def close(self) -> None:
        """Write what is to be written; what runs is made again by the next dispatcher."""
        self._ledger.close(5.0)

    def _keep(self, row: Row) -> None:
        self._jobs[row.job.id], self._serials[row.job.id] = row.job, row.serial

    def _again(self, row: Row) -> Move:
        return Move(row.job.id, row.serial, State.QUEUED, {"started": None})

    def _next(self) -> str:
        """Return the job whose turn it is: of the token with the fewest at work, then the one served longest ago."""
        busy = Counter(self._whose(job_id) for job_id in self._tasks)
        firsts: dict[str, str] = {}
        for job_id in self._waiting:
            firsts.setdefault(self._whose(job_id), job_id)
        whose = min(firsts, key=lambda owner: (busy[owner], self._served[owner]))
        self._turns += 1
        self._served[whose] = self._turns
        return firsts[whose]

    def _whose(self, job_id: str) -> str:
        return str(self._jobs[job_id].placement.get(OWNER, ""))

    async def _run(self, job_id: str) -> None:
        job = self._jobs[job_id]
        again = False
        try:
            counts = {"attempts": job.attempts + 1, "runs": job.runs + 1}
            await self._move(job_id, State.RUNNING, **counts, started=time.time())
            result = await self._make(self._jobs[job_id])
            # Its maker is free: the next job's begin is written down together with this one's end.
            del self._tasks[job_id]
            self.begin()
            await self._move(job_id, State.READY, result=dict(result), finished=time.time())
        except asyncio.CancelledError:
            await self._move(job_id, State.CANCELLED, finished=time.time())
        except Died as error:
            again = self._jobs[job_id].attempts < MOST_ATTEMPTS
            log().warning("actor lost", job=job_id, attempt=self._jobs[job_id].attempts, reason=repr(error)[:200])
            if again:
                await self._move(job_id, State.QUEUED, started=None)
            else:
                engine = job.request.engine
                await self._fail(job_id, EspalierError("worker_died", engine=engine, reason="it died", log="Ray's log"))
        except EspalierError as error:
            await self._fail(job_id, error)
        except Exception as error:
            log().error("job", job=job_id, exc_info=error)
            await self._fail(job_id, EspalierError("internal", repr(error), reason="a job failed", log="Ray's log"))
        finally:
            self._tasks.pop(job_id, None)
            if again:
                self._waiting.insert(0, job_id)
            else:
                self._forget(self._jobs[job_id])
            self.begin()

    async def _fail(self, job_id: str, error: EspalierError) -> None:
        await self._move(job_id, State.FAILED, error=error, finished=time.time())

    async def _move(self, job_id: str, state: State, **changes: Any) -> None:
        """Write a transition down, then show it. Raises EspalierError where the ledger is another dispatcher's now."""
        move = Move(job_id, self._serials[job_id], state, changes)
        if not await asyncio.shield(asyncio.wrap_future(self._ledger.move(move))):
            raise EspalierError("job_state", job=job_id, state="another dispatcher's", act="moved")
        self._serials[job_id] += 1
        self._jobs[job_id] = replace(self._jobs[job_id], **changes, state=state, cancelling=False)


def wire(job: Job) -> dict[str, Any]:
    """Return a job as plain data, for another process."""
    names = ("id", "created", "started", "finished", "attempts", "runs", "fraction", "cancelling")
    return {
        **{name: getattr(job, name) for name in names},
        "state": job.state.value,
        "request": job.request.to_json(),
        "placement": dict(job.placement),
        "result": dict(job.result),
        "error": job.error.to_json() if job.error else None,
    }


def unwire(data: Mapping[str, Any]) -> Job:
    """Return the job that `wire` described."""
    error = EspalierError.from_json(data["error"]) if data["error"] else None
    told = {**data, "request": request_from_json(data["request"]), "state": State(data["state"]), "error": error}
    return Job(**told)
