# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands jobs to workers, hears what they say of them, and sees to what follows."""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from ..errors import EspalierError
from ..workers.messages import (
    Accepted,
    Answer,
    CancelledJob,
    Failed,
    MessageError,
    Reached,
    Result,
    Started,
    Submitting,
)
from ..workers.process import Ended, Worker
from .book import Book, Entry
from .estimate import Estimate
from .history import cost_usd, expected_s
from .job import ACTIVE, Job, State
from .library import Library
from .pool import Pool
from .recovery import Verdict, after_cancel, after_failure, after_loss

_WRITE_AGAIN_S = 2.0
_LOOK_AGAIN_S = 5.0
_CLOSING_STEP_S = 0.01


@dataclass(frozen=True, slots=True)
class _Lost:
    """The worker of a job is gone."""

    started: bool
    error: EspalierError


class Foreman:
    """Moves the jobs of `book` with the workers of `pool`; `account` is asked before each is handed over.

    `free` names the engines whose work may be repeated unasked.
    """

    def __init__(
        self,
        book: Book,
        library: Library,
        pool: Pool,
        account: Callable[[str], Mapping[str, Any]],
        free: frozenset[str],
        most_attempts: int,
    ) -> None:
        self.waiting: list[str] = []
        """Jobs that are to be given to a worker: queued ones, and running ones that only have to be asked after."""
        self.answers: dict[str, dict[str, Any] | EspalierError] = {}
        self.session_usd = 0.0
        self._book = book
        self._library = library
        self._pool = pool
        self._account = account
        self._free = free
        self._most_attempts = most_attempts
        self._held: dict[str, deque[tuple[Worker, object]]] = {}
        self._write_again: list[tuple[float, Worker, Entry]] = []
        self._looked: dict[tuple[str, object], tuple[float, dict[str, float]]] = {}
        self._turn = 0
        self._closing = False
        book.abandon = self._abandon

    def is_free(self, job: Job) -> bool:
        """Tell whether the work of `job` may be repeated unasked."""
        return job.request.engine in self._free

    def ask(self, engine: str, question: str, about: Mapping[str, Any] = MappingProxyType({})) -> str:
        """Ask `engine` something outside a job; the answer is in `answers` later, under the name that is returned."""
        name = secrets.token_hex(8)
        try:
            self._pool.anyone(engine).ask(name, question, self._account(engine), about)
        except EspalierError as error:
            self.answers[name] = error
        except MessageError as error:
            self.answers[name] = EspalierError("request_invalid", reason=error)
        return name

    def cancel(self, entry: Entry) -> None:
        """Give up a job that is active; at once, if no worker has it. Its server is asked to stop it all the same."""
        job = entry.job
        if job.id in self.waiting:
            self.waiting.remove(job.id)
            error = after_cancel(job).error
            self._book.move(entry, State.CANCELLED, shown=True, finished=time.time(), error=error)
            if job.remote_id:
                self.ask(job.request.engine, "cancel", {"server": job.server, "remote_id": job.remote_id})
            return
        self._book.note(entry, cancelling=True)
        worker = self._pool.of(job.id)
        if worker is not None:
            worker.cancel(job.id)

    def line(self) -> list[str]:
        """Return the jobs that wait for a worker in their order: what is paid for first, then each by its place."""
        jobs = (self._book.entries[name].job for name in self.waiting)
        return [turn[-1] for turn in sorted((job.state is State.QUEUED, *job.turn) for job in jobs)]

    def start(self, deadline: float) -> None:
        """Give waiting jobs to free workers, what is paid for first, until `deadline`; start at most one new worker."""
        full: set[str] = set()
        alive = len(self._pool.workers)
        for job_id in self.line():
            entry = self._book.entries[job_id]
            engine = entry.job.request.engine
            if engine in full:
                continue
            if not entry.settled:  # it is being written down; nobody behind it goes first for that
                full.add(engine)
                continue
            if len(self._pool.workers) > alive:  # the start of a process holds Python's lock for milliseconds
                break
            try:
                reserved = self._pool.reserve(engine, job_id)
            except EspalierError as error:
                self.waiting.remove(job_id)
                self._finish(entry, Verdict(State.FAILED, error))
                continue
            if not reserved:
                full.add(engine)
                continue
            self.waiting.remove(job_id)
            # Each hand-over is a run of its own: the worker of the last one may still be writing.
            changes: dict[str, Any] = {"attempts": entry.job.attempts + 1, "runs": entry.job.runs + 1}
            act = partial(self._hand_over, entry)
            if entry.job.state is State.QUEUED:
                self._book.move(entry, State.SUBMITTING, act, **changes, started=time.time(), finished=None)
            else:
                self._book.move(entry, State.RUNNING, act, point="resumed", **changes)
            if time.perf_counter() > deadline:
                break

    def hear(self, deadline: float) -> None:
        """Take what the workers said, beginning with another one each time, until `deadline` (of perf_counter)."""
        self._write_again_what_is_due()
        for job_id in tuple(self._held):
            self._release(job_id)
        workers = self._pool.workers
        self._turn += 1
        for index in range(len(workers)):
            worker = workers[(index + self._turn) % len(workers)]
            worker.watch()
            while time.perf_counter() < deadline and not self._must_wait(worker):
                event = worker.receive()
                if event is None:
                    break
                if isinstance(event, Ended):
                    self._pool.forget(worker)
                    self.answers.update(dict.fromkeys(event.asked, event.error))
                    for job_id, started in event.jobs.items():
                        self._deliver(worker, job_id, _Lost(started, event.error))
                elif isinstance(event, Answer):
                    self.answers[event.id] = worker.error_of(event) if event.error else event.answer
                else:
                    self._deliver(worker, event.job, event)

    def fetch(self, entry: Entry) -> None:
        """Bring a finished asset into its place, then say that it is ready."""
        job = entry.job

        def follow(result: dict[str, Any] | None, error: BaseException | None) -> None:
            if entry.job.cancelling and self.is_free(job):
                self._finish(entry, Verdict(State.CANCELLED))
            elif error is None and result is not None:
                cost = billed(entry.job, result)
                self.session_usd += cost
                spent = entry.job.spent + cost
                self._book.move(entry, State.READY, result=result, finished=time.time(), spent=spent)
            elif isinstance(error, EspalierError):
                self._finish(entry, Verdict(State.FAILED, error))
            elif error is not None:
                raise error

        self._book.work(entry, lambda: self._library.promote(job.id, job.runs), follow)

    def wind_up(self, timeout_s: float) -> None:
        """Let nothing more go to a server, and wait a little for the answers to what has just gone there."""
        self._closing = True
        deadline = time.monotonic() + timeout_s
        while any(map(self._is_out, self._book.entries.values())) and time.monotonic() < deadline:
            self._book.settle(time.perf_counter() + _CLOSING_STEP_S)
            self.hear(time.perf_counter() + _CLOSING_STEP_S)
            time.sleep(_CLOSING_STEP_S)

    def _must_wait(self, worker: Worker) -> bool:
        """Tell whether a worker for one job at a time has one of which a transition is on its way.

        It is not given the next one before what it said of this one is written.
        """
        return worker.room == 1 and any(job in self._book.unsettled for job in worker.jobs)

    def _is_out(self, entry: Entry) -> bool:
        """Tell whether a request for the job may be under way, or what was heard of it is not written yet."""
        job = entry.job
        if job.state is not State.RUNNING or self.is_free(job) or self._pool.of(job.id) is None:
            return False
        return bool(entry.pending) or (bool(job.digest) and not job.remote_id)

    def _deliver(self, worker: Worker, job_id: str, event: object) -> None:
        """Act on what was said of a job; while a transition of it is on its way, that has to wait."""
        entry = self._book.entries.get(job_id)
        if entry is None:
            return
        if job_id in self._held or job_id in self._book.unsettled:
            held = self._held.setdefault(job_id, deque())
            if held and isinstance(event, Reached) and isinstance(held[-1][1], Reached):
                held.pop()
            held.append((worker, event))
        else:
            self._on_event(worker, entry, event)

    def _release(self, job_id: str) -> None:
        while job_id in self._held and job_id not in self._book.unsettled:
            worker, event = self._held[job_id].popleft()
            if not self._held[job_id]:
                del self._held[job_id]
            if job_id in self._book.entries:
                self._on_event(worker, self._book.entries[job_id], event)

    def _on_event(self, worker: Worker, entry: Entry, event: object) -> None:
        if isinstance(event, _Lost):
            self._on_loss(entry, event)
        elif isinstance(event, Started):
            # What a server is to make begins once it has it; until then the job stands in line.
            begun = self.is_free(entry.job) or bool(entry.job.remote_id)
            entry.estimate = Estimate(time.monotonic()) if begun else None
            if entry.job.state is State.SUBMITTING:
                self._book.move(entry, State.RUNNING)
        elif isinstance(event, Reached):
            self._on_progress(entry, event)
        elif isinstance(event, Submitting):
            if not (self._closing or entry.job.cancelling):
                act = partial(self._send, worker, entry)
                told: dict[str, Any] = {"digest": event.digest, "server": event.server, "remote_id": ""}
                self._book.move(entry, State.RUNNING, act, point="digest", **told)
        elif isinstance(event, Accepted):
            entry.estimate = Estimate(time.monotonic(), entry.job.fraction)
            self._book.note(entry, remote_id=event.remote_id)
            self._write_remote_id(worker, entry)
        elif isinstance(event, Result):
            if entry.job.cancelling and self.is_free(entry.job):
                self._finish(entry, Verdict(State.CANCELLED))
            else:
                self._book.move(entry, State.FETCHING, partial(self.fetch, entry), result=event.result)
        elif isinstance(event, Failed):
            error = worker.error_of(event)
            if error.code == "memory_full":
                worker.retire()  # what it still holds would be missing the next time, too
            job = without_server(entry.job) if event.ended else entry.job
            if job.remote_id != entry.job.remote_id:
                detail = f"{error.detail}\nits name at the server was {entry.job.remote_id}"
                error = EspalierError(error.code, detail, **error.fields)
            self._finish(entry, after_failure(job, error), remote_id=job.remote_id, digest=job.digest)
        elif isinstance(event, CancelledJob):
            job = without_server(entry.job) if event.ended else entry.job
            verdict = after_cancel(entry.job, event.ended)
            self._finish(entry, verdict, remote_id=job.remote_id, digest=job.digest)

    def _send(self, worker: Worker, entry: Entry) -> None:
        """Let the worker send a request whose digest is written; not any more when all is being closed."""
        if self._closing:
            self._book.move(entry, State.RUNNING, point="unsent", digest="")
        else:
            worker.written(entry.job.id)

    def _write_remote_id(self, worker: Worker, entry: Entry) -> None:
        """Write down what a server calls the job, however long the disk refuses: it may be paid for."""
        job = entry.job

        def fail(error: EspalierError) -> None:
            self._book.note(entry, note=error.cause)
            self._write_again.append((time.monotonic() + _WRITE_AGAIN_S, worker, entry))

        act = partial(worker.written, job.id)
        self._book.move(entry, State.RUNNING, act, point="remote_id", fail=fail, remote_id=job.remote_id)

    def _write_again_what_is_due(self) -> None:
        now = time.monotonic()
        due = [item for item in self._write_again if now >= item[0] and item[2].settled]
        for item in due:
            self._write_again.remove(item)
            _, worker, entry = item
            if entry.job.id in worker.jobs and entry.job.state is State.RUNNING:
                self._write_remote_id(worker, entry)

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

    def _on_loss(self, entry: Entry, event: _Lost) -> None:
        """Decide about a job whose worker is gone, after a look whether it had finished all the same."""
        job = entry.job

        def look() -> tuple[bool, str]:
            return self._library.made(job.id, job.runs), self._library.remote_id(job.id, job.runs)

        def follow(found: tuple[bool, str] | None, error: BaseException | None) -> None:
            free = self.is_free(job)
            made, remote_id = found or (False, "")
            if remote_id and not entry.job.remote_id:
                self._book.note(entry, remote_id=remote_id)
            if made and not (entry.job.cancelling and free):
                self._book.move(entry, State.FETCHING, partial(self.fetch, entry))
            else:
                self._finish(entry, after_loss(entry.job, event.started, free, self._most_attempts, event.error))

        self._book.work(entry, look, follow)

    def _finish(self, entry: Entry, verdict: Verdict, **changes: Any) -> None:
        """Bring a job that made nothing to its end, or back into the line, then remove what there is of its files."""
        job_id, state = entry.job.id, verdict.state

        def act() -> None:
            remove = self._library.remove if state is State.CANCELLED else self._library.sweep
            self._book.work(entry, lambda: remove(job_id), lambda value, error: None)
            if state in ACTIVE:
                self.waiting.append(job_id)

        # With what the server calls the job, which may not have got into the ledger when the server said it.
        values = {"remote_id": entry.job.remote_id, **changes}
        finished = None if state in ACTIVE else time.time()
        self._book.move(entry, state, act, error=verdict.error, finished=finished, **values)

    def _hand_over(self, entry: Entry) -> None:
        job = entry.job
        worker = self._pool.take(job.id)
        assert worker is not None, job.id
        if job.cancelling and not job.remote_id:
            self._finish(entry, Verdict(State.CANCELLED))
        elif worker.end is not None:
            self._finish(entry, after_loss(job, False, self.is_free(job), self._most_attempts, worker.end.error))
        else:
            try:
                folder = self._library.partial(job.id, job.runs)
                expected = {} if self.is_free(job) else self._expected(job)
                account = self._account(job.request.engine)
                worker.run(job.id, job.request.to_json(), folder, job.remote_id, account, expected, job.server)
            except EspalierError as error:
                self._finish(entry, Verdict(State.FAILED, error))
            except MessageError as error:
                self._finish(entry, Verdict(State.FAILED, EspalierError("request_invalid", reason=error)))
            else:
                if job.cancelling:
                    worker.cancel(job.id)

    def _expected(self, job: Job) -> dict[str, float]:
        """Return how long the stages of such a job took lately, as it was known a moment ago."""
        kind, now = (job.request.engine, job.request.parameters.get("resolution")), time.monotonic()
        looked, expected = self._looked.get(kind, (-math.inf, {}))
        if now - looked > _LOOK_AGAIN_S:
            expected = expected_s((entry.job for entry in self._book.entries.values()), job.request)
            self._looked[kind] = now, expected
        return expected

    def _abandon(self, entry: Entry) -> None:
        """Let nothing go on with a job that is not this queue's any more, or cannot be written down."""
        job_id = entry.job.id
        if job_id in self.waiting:
            self.waiting.remove(job_id)
        self._held.pop(job_id, None)
        self._pool.take(job_id)
        worker = self._pool.of(job_id)
        if worker is not None:
            worker.drop(job_id)


def without_server(job: Job) -> Job:
    """Return `job` as one that no server has anything of."""
    return replace(job, remote_id="", digest="")


def billed(job: Job, result: Mapping[str, Any]) -> float:
    """Return what a finished `job` adds to what is known to have been billed: each request counts once."""
    return cost_usd(result) if job.digest else 0.0
