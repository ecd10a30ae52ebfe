# SPDX-License-Identifier: GPL-3.0-or-later
"""The only thing that knows what runs, waits or failed. Driven by `step`, from a timer or from a loop."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import EspalierError
from ..files import unwritable
from ..request import Request
from ..workers.process import Launch, Limits
from .background import Background
from .book import Book
from .foreman import Foreman, billed
from .history import TIMED, Spent, Timings, Took
from .job import ACTIVE, MOVES, Job, State
from .ledger import Ledger, Move, Row, Trace
from .library import Library
from .owner import Owner
from .pool import Pool
from .recovery import FREE, after_cancel, after_crash

LEDGER = "ledger.sqlite3"
MOST_ATTEMPTS = 3
HISTORY = 500
"""Finished jobs of earlier times that are known from the start; the ledger keeps all."""

_ANSWERED_S = 3.0
_SOON_S = 0.01
_WORKING_S = 0.05
_QUIET_S = 1.0


class JobQueue:
    """The jobs of this process, and the finished ones of all others, in the user folder `root`.

    `launch` says how a worker of an engine is started; it is called on the thread that calls `step`, and quick.
    `slots` is how many jobs of an engine run side by side, `room` how many of them share a worker, `idle_s` how long a
    worker is kept without a job. `free` names the engines whose work may be repeated unasked. `account` returns what an
    engine needs to speak to its server (it holds a secret, and is kept nowhere) or raises EspalierError; it is called
    on the thread that calls `step`, and quick. `trace` is told every step of every transition. `history` is how many
    finished jobs of earlier times are known from the start.

    Opening it reads the ledger at once, in a few milliseconds. Raises EspalierError where `root` cannot be written or
    the ledger cannot be used.
    """

    def __init__(
        self,
        root: Path,
        launch: Callable[[str], Launch],
        *,
        slots: Mapping[str, int] | None = None,
        room: Mapping[str, int] | None = None,
        idle_s: float = 300.0,
        limits: Limits | None = None,
        free: frozenset[str] = FREE,
        most_attempts: int = MOST_ATTEMPTS,
        account: Callable[[str], Mapping[str, Any]] = lambda engine: {},
        trace: Trace = lambda point: None,
        history: int = HISTORY,
    ) -> None:
        root = Path(root).absolute()
        self._most_attempts = most_attempts
        self._library = Library(root / "library")
        self._library.open()
        try:
            (root / "owners").mkdir(exist_ok=True)
            self._owner = Owner(root / "owners")
        except OSError as error:
            raise unwritable(root, error) from error
        try:
            self._ledger = Ledger(root / LEDGER, self._owner.id, trace)
            finished = self._ledger.history(history)
            self._spent_before = self._ledger.spent().result()
        except EspalierError:
            self._owner.release()
            raise
        self._files = Background("library")
        self._pool = Pool(root, launch, slots, room, idle_s, limits or Limits())
        self._book = Book(self._ledger, self._library, self._files, trace)
        self._foreman = Foreman(self._book, self._library, self._pool, account, free, most_attempts)
        self._closed = False
        self._rank = 0.0
        self.opened = time.time()
        self._timings = Timings()
        self._earlier: Future[Timings] | None = self._ledger.fold(TIMED, Timings.of)
        for row in finished:
            self._book.keep(row)

    # What a person asks for.

    def submit(self, request: Request, placement: Mapping[str, Any] | None = None) -> str:
        """Queue `request` and return the new job's id at once. `placement` is JSON data that comes back with it."""
        if self._closed:
            raise RuntimeError("the queue is closed")
        now = time.time()
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}"
        rank = self._last_rank()
        self._book.add(Job(name, request, State.QUEUED, placement=dict(placement or {}), created=now, rank=rank))
        self._foreman.waiting.append(name)
        return name

    def cancel(self, job_id: str) -> None:
        """Stop a job; it is cancelled once nothing works on it any more. Nothing happens if it is cancelled already.

        Raises EspalierError `job_unknown`, or `job_state` for a job that has come to an end.
        """
        entry = self._book.entry(job_id)
        job = entry.job
        if job.state is State.CANCELLED or job.cancelling:
            return
        if not job.active:
            raise EspalierError("job_state", job=job_id, state=job.state, act="cancelled")
        self._foreman.cancel(entry)

    def retry(self, job_id: str, remote_id: str = "") -> None:
        """Queue a failed, cancelled or unknown job again. Raises EspalierError `job_unknown` or `job_state`.

        One that has a `remote_id`, or gets one now because somebody has found out what the server calls it, is asked
        after at its server; nothing is ordered there a second time for it.
        """
        entry = self._book.entry(job_id)
        job = entry.job
        if job.state not in (State.FAILED, State.CANCELLED, State.UNKNOWN):
            raise EspalierError("job_state", job=job_id, state=job.state, act="run again")
        remote_id = remote_id or job.remote_id
        counted = job.spent > 0.0 and bool(job.result)
        self._book.move(
            entry,
            State.QUEUED,
            shown=True,
            attempts=0,
            started=None,
            finished=None,
            result={},
            error=None,
            remote_id=remote_id,
            digest=job.digest if remote_id and not counted else "",
            rank=self._last_rank(),
            cleared=False,
        )
        self._foreman.waiting.append(job_id)

    def move_up(self, job_id: str) -> None:
        """Let a job pass the one that is ahead of it in the line of its engine; nothing happens if there is none.

        Raises EspalierError `job_unknown`.
        """
        job = self._book.entry(job_id).job
        line = [self._book.entries[name].job for name in self._foreman.line()]
        line = [each for each in line if each.state is State.QUEUED and each.request.engine == job.request.engine]
        index = next((index for index, each in enumerate(line) if each.id == job_id), 0)
        if index:
            ahead = line[index - 1]
            first = min(ahead.rank, math.nextafter(job.rank, -math.inf))
            ranks = {job_id: first, ahead.id: job.rank}
            self._book.mark({name: {"rank": rank} for name, rank in ranks.items()}, self._ledger.arrange(ranks))

    def clear(self, job_ids: Iterable[str]) -> None:
        """Note that a person wants to see these jobs no more, which have come to an end; their assets stay.

        Raises EspalierError `job_unknown`, or `job_state` for a job that goes on.
        """
        names = list(job_ids)
        for name in names:
            if (job := self._book.entry(name).job).active:
                raise EspalierError("job_state", job=name, state=job.state, act="cleared")
        self._book.mark({name: {"cleared": True} for name in names}, self._ledger.clear(names))

    def ask(self, engine: str, question: str, about: Mapping[str, Any] = MappingProxyType({})) -> str:
        """Ask `engine` a question outside a job, and return the name under which `answers` has the answer later."""
        return self._foreman.ask(engine, question, about)

    def renew(self, engine: str) -> None:
        """Let the next job of `engine` have a new worker: idle ones end, the others end with what they have."""
        self._pool.retire(engine)

    def answers(self) -> dict[str, dict[str, Any] | EspalierError]:
        """Return the answers that came in since the last call, each once, by the names that `ask` returned."""
        answers, self._foreman.answers = self._foreman.answers, {}
        return answers

    def mark_imported(self, job_id: str) -> None:
        """Note that a ready job has been placed in a scene or written where it was wanted. Raises EspalierError."""
        self._mark(job_id, State.IMPORTED, "imported")

    def mark_failed(self, job_id: str, error: EspalierError) -> None:
        """Note that the asset of a ready job turned out to be unusable because of `error`. Raises EspalierError."""
        self._mark(job_id, State.FAILED, "given up", error=error)

    def discard(self, job_id: str) -> None:
        """Remove the files of a job that has come to an end, and show it no more; the ledger keeps its row.

        Raises EspalierError `job_unknown`, or `job_state` for a job that goes on.
        """
        entry = self._book.entry(job_id)
        if entry.job.active or not entry.settled:
            raise EspalierError("job_state", job=job_id, state=entry.job.state, act="discarded")
        del self._book.entries[job_id]
        self._files.submit(lambda: self._library.remove(job_id))

    def resume(self) -> list[Job]:
        """Adopt the unfinished jobs of owners that are gone, and return them. Waits for the disk, a few milliseconds.

        Raises EspalierError if the ledger cannot be read or written.
        """
        rows = self._ledger.adopt(self._owner.alive, self._judge)
        for row in rows:
            entry = self._book.keep(row)
            self._book.note(entry)
            self._rank = max(self._rank, row.job.rank)
            if row.job.state in (State.QUEUED, State.RUNNING):
                self._foreman.waiting.append(row.job.id)
            elif row.job.state is State.FETCHING:
                self._foreman.fetch(entry)
        self._files.submit(self._owner.sweep)
        self._files.submit(lambda: self._library.tidy(self._ledger.states))
        return [self._book.entry(row.job.id).job for row in rows]

    def recall(self, wanted: Callable[[Job], bool]) -> None:
        """Know finished jobs of earlier times that are `wanted`, however long ago they were. Waits for the disk.

        `wanted` is called on another thread. Raises EspalierError if the ledger cannot be read.
        """
        for row in self._ledger.recall(wanted):
            if row.job.id not in self._book.entries:
                self._book.keep(row)

    # What a person sees.

    def jobs(self) -> list[Job]:
        """Return all jobs as last seen, newest first, without touching the disk."""
        return sorted((e.job for e in self._book.entries.values()), key=lambda job: (job.created, job.id), reverse=True)

    def listed(self) -> list[Job]:
        """Return the jobs that nobody has cleared, as last seen, in no order, without touching the disk."""
        return [entry.job for entry in self._book.entries.values() if not entry.job.cleared]

    def job(self, job_id: str) -> Job:
        """Return a job as last seen. Raises EspalierError `job_unknown`."""
        return self._book.entry(job_id).job

    def writing(self, job_id: str) -> Future[bool] | None:
        """Return what is done once all that is decided about a job is in the ledger, None where it is already.

        It belongs to the ledger: it is not to be cancelled. Raises EspalierError `job_unknown`.
        """
        pending = self._book.entry(job_id).pending
        return pending[-1].future if pending else None

    def spent(self) -> Spent:
        """Return what is known to have been billed, without touching the disk."""
        return Spent(self._foreman.session_usd, self._spent_before + self._foreman.session_usd)

    def took(self, request: Request) -> Took | None:
        """Return how long jobs like `request` took here, without touching the disk; None if none is known."""
        if self._earlier is not None and self._earlier.done():
            if self._earlier.exception() is None:
                self._timings.precede(self._earlier.result())
            self._earlier = None
        return self._timings.took(request)

    @property
    def busy(self) -> bool:
        """Whether a job is unfinished, or something decided is not in the ledger yet."""
        return self._book.writing or any(entry.job.active for entry in self._book.entries.values())

    @property
    def warm(self) -> bool:
        """Whether worker processes are alive, which `step` lets go when they have been idle for long."""
        return bool(self._pool.workers)

    def holds(self, engine: str) -> bool:
        """Tell whether a worker of `engine` is alive, with what it keeps in memory."""
        return any(worker.engine == engine for worker in self._pool.workers)

    def delay_s(self) -> float:
        """Return in how many seconds `step` wants to be called again, at most 1."""
        if self._book.writing or self._book.changed or self._foreman.answers:
            return _SOON_S
        if self.busy or any(not worker.idle for worker in self._pool.workers):
            return _WORKING_S
        left = self._pool.idle_left_s()
        return _QUIET_S if left is None else min(max(left, _SOON_S), _QUIET_S)

    # What drives it.

    def step(self, budget_s: float = 0.003, begin: bool = True) -> list[Job]:
        """Do what is due, for about `budget_s` seconds; return the jobs that changed. Never blocks, never sleeps.

        Jobs that wait are handed over only where `begin` is set.
        """
        deadline = time.perf_counter() + budget_s
        self._book.settle(deadline)
        self._foreman.hear(deadline)
        if begin:
            self._foreman.start(deadline)
        self._pool.let_go()
        changed = self._book.take_changed()
        for job in changed:
            self._timings.add(job)
        return changed

    def close(self, timeout_s: float = 5.0) -> None:
        """End the workers, waiting for that; unfinished jobs stay in the ledger for the next `resume`.

        A request that has just gone to a server is given a few seconds to be answered.
        """
        if self._closed:
            return
        self._closed = True
        self._foreman.wind_up(min(timeout_s, _ANSWERED_S))
        self._pool.end(timeout_s)
        for entry in self._book.entries.values():
            if entry.settled and entry.job.state in (State.SUBMITTING, State.RUNNING):
                self._files.submit(partial(self._give_back, entry.job, entry.serial))
        self._files.close(timeout_s)
        self._ledger.close(timeout_s)
        self._owner.release()

    def _last_rank(self) -> float:
        """Return a place behind all others in the line: the time, but never the same twice."""
        self._rank = max(time.time(), math.nextafter(self._rank, math.inf))
        return self._rank

    def _mark(self, job_id: str, state: State, act: str, **changes: Any) -> None:
        entry = self._book.entry(job_id)
        if entry.job.active or state not in MOVES[entry.job.state]:
            raise EspalierError("job_state", job=job_id, state=entry.job.state, act=act)
        self._book.move(entry, state, shown=True, **changes)

    def _judge(self, row: Row) -> Move:
        """Decide about a job of a dead owner. Runs in the ledger's thread."""
        job = row.job
        made = job.state is not State.QUEUED and self._library.made(job.id, job.runs)
        placed = made and self._library.whole(job.id)
        if job.digest and not job.remote_id:
            job = replace(job, remote_id=self._library.remote_id(job.id, job.runs))
        verdict = after_crash(job, made, placed, self._foreman.is_free(job), self._most_attempts)
        changes: dict[str, Any] = {"error": verdict.error, "remote_id": job.remote_id}
        if verdict.state is State.READY:
            result = self._library.result(job.id)
            changes |= {"result": result, "spent": job.spent + billed(job, result)}
        if verdict.state in (State.RUNNING, State.QUEUED) and not self._foreman.is_free(job):
            changes["attempts"] = 0  # they count what the job did to workers, not what happened to Blender
        changes["finished"] = None if verdict.state in ACTIVE else time.time()
        return Move(job.id, row.serial, verdict.state, changes)

    def _give_back(self, job: Job, serial: int) -> None:
        """Settle a job that an orderly end interrupts, without counting the attempt. Runs in the library's thread."""
        free = self._foreman.is_free(job)
        if self._library.made(job.id, job.runs) and not (job.cancelling and free):
            return
        remote_id = job.remote_id or (self._library.remote_id(job.id, job.runs) if job.digest else "")
        told = replace(job, remote_id=remote_id)
        changes: dict[str, Any] = {"remote_id": remote_id}
        written: Future[bool] | None = None
        if job.cancelling:
            changes |= {"finished": time.time(), "error": after_cancel(told).error}
            written = self._ledger.move(Move(job.id, serial, State.CANCELLED, changes))
        elif remote_id and not free:
            written = self._ledger.move(Move(job.id, serial, State.RUNNING, changes))
        elif free or not job.digest:
            changes |= {"attempts": max(0, job.attempts - 1), "started": None}
            written = self._ledger.move(Move(job.id, serial, State.QUEUED, changes))
        # What the worker itself noted of a job at a server goes no sooner than the ledger has it.
        if written is None or written.exception() is None:
            self._library.sweep(job.id)
