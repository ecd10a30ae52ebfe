# SPDX-License-Identifier: GPL-3.0-or-later
"""The only thing that knows what runs, waits or failed. Driven by `step`, from a timer or from a loop."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import EspalierError
from ..files import unwritable
from ..request import Request
from ..workers.messages import CancelledJob, Failed, MessageError, Reached, Result, Started
from ..workers.process import Ended, Launch, Limits, Worker
from .background import Background
from .book import Book, Entry
from .estimate import Estimate
from .job import ACTIVE, MOVES, Job, State
from .ledger import Ledger, Move, Row, Trace
from .library import Library
from .owner import Owner
from .pool import Pool
from .recovery import FREE, Verdict, after_crash, after_loss

LEDGER = "ledger.sqlite3"
MOST_ATTEMPTS = 3
HISTORY = 500
"""Finished jobs of earlier times that are shown; the ledger keeps all."""

_SOON_S = 0.01
_WORKING_S = 0.05
_QUIET_S = 1.0


class JobQueue:
    """The jobs of this process, and the finished ones of all others, in the user folder `root`.

    `launch` says how a worker of an engine is started; it is called on the thread that calls `step`, and quick.
    `slots` is how many jobs of an engine run side by side, `idle_s` how long a worker is kept without a job.
    `free` names the engines whose work may be repeated unasked. `trace` is told every step of every transition.

    Opening it reads the ledger at once, in a few milliseconds. Raises EspalierError where `root` cannot be written or
    the ledger cannot be used.
    """

    def __init__(
        self,
        root: Path,
        launch: Callable[[str], Launch],
        *,
        slots: Mapping[str, int] | None = None,
        idle_s: float = 300.0,
        limits: Limits | None = None,
        free: frozenset[str] = FREE,
        most_attempts: int = MOST_ATTEMPTS,
        trace: Trace = lambda point: None,
    ) -> None:
        root = Path(root).absolute()
        self._free = free
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
            history = self._ledger.history(HISTORY)
        except EspalierError:
            self._owner.release()
            raise
        self._files = Background("library")
        self._pool = Pool(root, launch, slots, idle_s, limits or Limits())
        self._book = Book(self._ledger, self._library, self._files, trace)
        self._book.abandon = self._abandon
        self._waiting: list[str] = []
        self._turn = 0
        self._closed = False
        for row in history:
            self._book.keep(row)

    # What a person asks for.

    def submit(self, request: Request, placement: Mapping[str, Any] | None = None) -> str:
        """Queue `request` and return the new job's id at once. `placement` is JSON data that comes back with it."""
        if self._closed:
            raise RuntimeError("the queue is closed")
        now = time.time()
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}"
        self._book.add(Job(name, request, State.QUEUED, placement=dict(placement or {}), created=now))
        self._waiting.append(name)
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
        if job.state is State.QUEUED and job_id in self._waiting:
            self._waiting.remove(job_id)
            self._book.move(entry, State.CANCELLED, shown=True, finished=time.time())
            return
        self._book.note(entry, cancelling=True)
        worker = self._pool.of(job_id)
        if worker is not None:
            worker.cancel()

    def retry(self, job_id: str) -> None:
        """Queue a failed, cancelled or unknown job again. Raises EspalierError `job_unknown` or `job_state`."""
        entry = self._book.entry(job_id)
        job = entry.job
        if job.state not in (State.FAILED, State.CANCELLED, State.UNKNOWN):
            raise EspalierError("job_state", job=job_id, state=job.state, act="run again")
        self._book.move(
            entry,
            State.QUEUED,
            shown=True,
            attempts=0,
            started=None,
            finished=None,
            result={},
            error=None,
            # What a server may have begun is asked after; what is known to have ended there is begun anew.
            remote_id=job.remote_id if job.state is State.UNKNOWN else "",
        )
        self._waiting.append(job_id)

    def mark_imported(self, job_id: str) -> None:
        """Note that a ready job has been placed in a scene or written where it was wanted. Raises EspalierError."""
        self._mark(job_id, State.IMPORTED, "imported")

    def reopen(self, job_id: str) -> None:
        """Make an imported job ready again, after its import was undone. Raises EspalierError."""
        self._mark(job_id, State.READY, "imported again")

    def mark_failed(self, job_id: str, error: EspalierError) -> None:
        """Note that the asset of a ready job turned out to be unusable because of `error`. Raises EspalierError."""
        self._mark(job_id, State.FAILED, "given up", error=error)

    def resume(self) -> list[Job]:
        """Adopt the unfinished jobs of owners that are gone, and return them. Waits for the disk, a few milliseconds.

        Raises EspalierError if the ledger cannot be read or written.
        """
        rows = self._ledger.adopt(self._owner.alive, self._judge)
        for row in rows:
            entry = self._book.keep(row)
            self._book.note(entry)
            if row.job.state in (State.QUEUED, State.RUNNING):
                self._waiting.append(row.job.id)
            elif row.job.state is State.FETCHING:
                self._fetch(entry)
        self._files.submit(self._owner.sweep)
        self._files.submit(lambda: self._library.tidy(self._ledger.states))
        return [self._book.entry(row.job.id).job for row in rows]

    # What a person sees.

    def jobs(self) -> list[Job]:
        """Return all jobs as last seen, newest first, without touching the disk."""
        return sorted((e.job for e in self._book.entries.values()), key=lambda job: (job.created, job.id), reverse=True)

    def job(self, job_id: str) -> Job:
        """Return a job as last seen. Raises EspalierError `job_unknown`."""
        return self._book.entry(job_id).job

    @property
    def busy(self) -> bool:
        """Whether a job is unfinished, or something decided is not in the ledger yet."""
        return bool(self._book.unsettled) or any(entry.job.active for entry in self._book.entries.values())

    @property
    def warm(self) -> bool:
        """Whether worker processes are alive, which `step` lets go when they have been idle for long."""
        return bool(self._pool.workers)

    def delay_s(self) -> float:
        """Return in how many seconds `step` wants to be called again, at most 1."""
        if self._book.unsettled or self._book.changed:
            return _SOON_S
        if self.busy or any(not worker.free for worker in self._pool.workers):
            return _WORKING_S
        left = self._pool.idle_left_s()
        return _QUIET_S if left is None else min(max(left, _SOON_S), _QUIET_S)

    # What drives it.

    def step(self, budget_s: float = 0.003) -> list[Job]:
        """Do what is due, for about `budget_s` seconds; return the jobs that changed. Never blocks, never sleeps."""
        deadline = time.perf_counter() + budget_s
        self._book.settle(deadline)
        self._hear(deadline)
        self._start()
        self._pool.let_go()
        return self._book.take_changed()

    def close(self, timeout_s: float = 5.0) -> None:
        """End the workers, waiting for that; unfinished jobs stay in the ledger for the next `resume`."""
        if self._closed:
            return
        self._closed = True
        self._pool.end(timeout_s)
        for entry in self._book.entries.values():
            if entry.settled and entry.job.state in (State.SUBMITTING, State.RUNNING) and self._is_free(entry.job):
                self._files.submit(partial(self._give_back, entry.job, entry.serial))
        self._files.close(timeout_s)
        self._ledger.close(timeout_s)
        self._owner.release()

    def _hear(self, deadline: float) -> None:
        """Take what the workers said, beginning with another one each time, until `deadline`."""
        workers = self._pool.workers
        self._turn += 1
        for index in range(len(workers)):
            worker = workers[(index + self._turn) % len(workers)]
            worker.watch()
            # While a transition of its job is on its way, what the worker says next has to wait.
            while not (worker.job and worker.job in self._book.unsettled) and time.perf_counter() < deadline:
                entry = self._book.entries.get(worker.job)
                event = worker.receive()
                if event is None:
                    break
                if isinstance(event, Ended):
                    self._pool.forget(worker)
                if entry is not None:
                    self._on_event(worker, entry, event)

    def _on_event(self, worker: Worker, entry: Entry, event: object) -> None:
        if isinstance(event, Ended):
            self._on_loss(entry, event)
        elif isinstance(event, Started):
            entry.estimate = Estimate(time.monotonic())
            if entry.job.state is State.SUBMITTING:
                self._book.move(entry, State.RUNNING)
        elif isinstance(event, Reached):
            self._on_progress(entry, event)
        elif isinstance(event, Result):
            if entry.job.cancelling and self._is_free(entry.job):
                self._finish(entry, Verdict(State.CANCELLED))
            else:
                self._book.move(entry, State.FETCHING, partial(self._fetch, entry), result=event.result)
        elif isinstance(event, Failed):
            error = worker.error_of(event)
            if error.code == "memory_full":
                worker.stop()  # what it still holds would be missing the next time, too
            cancelled = entry.job.cancelling
            self._finish(entry, Verdict(State.CANCELLED) if cancelled else Verdict(State.FAILED, error))
        elif isinstance(event, CancelledJob):
            self._finish(entry, Verdict(State.CANCELLED))

    def _on_progress(self, entry: Entry, event: Reached) -> None:
        fraction = max(entry.job.fraction, event.fraction)
        remaining = None
        if entry.estimate is not None:
            now = time.monotonic()
            entry.estimate.update(now, fraction)
            remaining = entry.estimate.remaining(now)
        self._book.note(
            entry, stage=event.stage, label=event.label, note=event.note, fraction=fraction, remaining_s=remaining
        )

    def _on_loss(self, entry: Entry, event: Ended) -> None:
        """Decide about a job whose worker is gone, after a look whether it had finished all the same."""
        job = entry.job

        def follow(made: bool | None, error: BaseException | None) -> None:
            free = self._is_free(job)
            if made and not (entry.job.cancelling and free):
                self._book.move(entry, State.FETCHING, partial(self._fetch, entry))
            else:
                self._finish(entry, after_loss(entry.job, event.started, free, self._most_attempts, event.error))

        self._book.work(entry, lambda: self._library.made(job.id, job.runs), follow)

    def _finish(self, entry: Entry, verdict: Verdict) -> None:
        """Bring a job that made nothing to its end, or back into the line, then remove what there is of its files."""
        job_id, state = entry.job.id, verdict.state

        def act() -> None:
            remove = self._library.remove if state is State.CANCELLED else self._library.sweep
            self._book.work(entry, lambda: remove(job_id), lambda value, error: None)
            if state is State.QUEUED:
                self._waiting.append(job_id)

        finished = None if state in ACTIVE else time.time()
        self._book.move(entry, state, act, error=verdict.error, finished=finished)

    def _fetch(self, entry: Entry) -> None:
        """Bring a finished asset into its place, then say that it is ready."""
        job = entry.job

        def follow(result: dict[str, Any] | None, error: BaseException | None) -> None:
            if entry.job.cancelling and self._is_free(job):
                self._finish(entry, Verdict(State.CANCELLED))
            elif error is None:
                self._book.move(entry, State.READY, result=result, finished=time.time())
            elif isinstance(error, EspalierError):
                self._finish(entry, Verdict(State.FAILED, error))
            else:
                raise error

        self._book.work(entry, lambda: self._library.promote(job.id, job.runs), follow)

    def _start(self) -> None:
        """Give waiting jobs to free workers, oldest first, and start at most one new worker."""
        full: set[str] = set()
        alive = len(self._pool.workers)
        for job_id in tuple(self._waiting):
            entry = self._book.entries[job_id]
            engine = entry.job.request.engine
            if engine in full or not entry.settled:
                continue
            if len(self._pool.workers) > alive:  # the start of a process holds Python's lock for milliseconds
                break
            try:
                reserved = self._pool.reserve(engine, job_id)
            except EspalierError as error:
                self._waiting.remove(job_id)
                self._finish(entry, Verdict(State.FAILED, error))
                continue
            if not reserved:
                full.add(engine)
                continue
            self._waiting.remove(job_id)
            if entry.job.state is State.QUEUED:
                attempts, runs = entry.job.attempts + 1, entry.job.runs + 1
                act = partial(self._hand_over, entry)
                self._book.move(
                    entry, State.SUBMITTING, act, attempts=attempts, runs=runs, started=time.time(), finished=None
                )
            else:  # it is at its server, and only has to be asked after
                self._hand_over(entry)

    def _hand_over(self, entry: Entry) -> None:
        job = entry.job
        worker = self._pool.take(job.id)
        assert worker is not None, job.id
        if job.cancelling and not job.remote_id:
            self._finish(entry, Verdict(State.CANCELLED))
        elif worker.end is not None:
            self._finish(entry, after_loss(job, False, self._is_free(job), self._most_attempts, worker.end.error))
        else:
            try:
                folder = self._library.partial(job.id, job.runs)
                worker.run(job.id, job.request.to_json(), folder, job.remote_id)
            except MessageError as error:
                self._finish(entry, Verdict(State.FAILED, EspalierError("request_invalid", reason=error)))
                return
            if job.cancelling:
                worker.cancel()

    def _mark(self, job_id: str, state: State, act: str, **changes: Any) -> None:
        entry = self._book.entry(job_id)
        if entry.job.active or state not in MOVES[entry.job.state]:
            raise EspalierError("job_state", job=job_id, state=entry.job.state, act=act)
        self._book.move(entry, state, shown=True, **changes)

    def _abandon(self, entry: Entry) -> None:
        """Let nothing go on with a job that is not this queue's any more, or cannot be written down."""
        job_id = entry.job.id
        if job_id in self._waiting:
            self._waiting.remove(job_id)
        self._pool.take(job_id)
        worker = self._pool.of(job_id)
        if worker is not None:
            worker.kill()
            worker.job = ""

    def _judge(self, row: Row) -> Move:
        """Decide about a job of a dead owner. Runs in the ledger's thread."""
        job = row.job
        made = job.state is not State.QUEUED and self._library.made(job.id, job.runs)
        placed = made and self._library.whole(job.id)
        verdict = after_crash(job, made, placed, self._is_free(job), self._most_attempts)
        finished = None if verdict.state in ACTIVE else time.time()
        return Move(job.id, row.serial, verdict.state, {"error": verdict.error, "finished": finished})

    def _give_back(self, job: Job, serial: int) -> None:
        """Settle a job that an orderly end interrupts, without counting the attempt. Runs in the library's thread."""
        if job.cancelling:
            self._library.sweep(job.id)
            self._ledger.move(Move(job.id, serial, State.CANCELLED, {"finished": time.time()}))
        elif not self._library.made(job.id, job.runs):
            self._library.sweep(job.id)
            changes = {"attempts": max(0, job.attempts - 1), "started": None}
            self._ledger.move(Move(job.id, serial, State.QUEUED, changes))

    def _is_free(self, job: Job) -> bool:
        return job.request.engine in self._free
