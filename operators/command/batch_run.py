# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a batch on their way through the queue, a few more at a time than it works on."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ...engine.batch.budget import Budget
from ...engine.batch.records import DONE, FAILED, SKIPPED, Known, Record
from ...engine.batch.results import Results
from ...engine.batch.rows import Row, Wanted, content_of
from ...engine.batch_errors import FAILS_ALL
from ...engine.errors import EspalierError
from ...engine.files import ensure_writable
from ...engine.jobs.background import Background
from ...engine.jobs.job import Job, State
from ...engine.jobs.library import ASSET
from ...engine.jobs.queue import JobQueue
from ...engine.jobs.recovery import FREE
from .. import pricing, session
from .batch_arguments import Batch
from .batch_deliver import deliver, discard
from .batch_report import BatchReport

MARK = "batch"
"""The member of a job's placement that holds the key of its row, by which a later run finds it."""
LEVELS = " levels"
"""What follows the key of the job that makes a row's levels of detail."""
AHEAD = 3
"""Jobs that stand in line, so that no worker waits for the next."""
NAP_S = 0.005
PATIENCE_S = 60.0
"""How long the last folders of the library may take to be removed."""
_MADE = (State.READY, State.IMPORTED)


@dataclass(slots=True)
class _Task:
    """A row that is under way; `source` is the job that generated its asset, once that is made."""

    row: Row
    key: str
    source: Job | None = None


class BatchRun:
    """Brings rows to their end through `queue`, which works on as many jobs of an engine at a time as `slots` says.

    `interrupted` tells how often Ctrl-C was pressed.
    """

    def __init__(
        self,
        queue: JobQueue,
        slots: Mapping[str, int],
        options: Batch,
        wanted: Wanted,
        known: Known,
        results: Results,
        report: BatchReport,
        interrupted: Callable[[], int],
    ) -> None:
        self._options = options
        self._wanted = wanted
        self._keys = known.keys
        self._results = results
        self._report = report
        self._interrupted = interrupted
        self._queue = queue
        self._window = sum(slots.values()) + AHEAD
        self._budget = Budget(options.budget_usd)
        self._taken: dict[int, Row] = {}
        self._tasks: dict[str, _Task] = {}
        self._stop: EspalierError | None = None
        self._stopping = 0
        # Files are linked, synced and removed there: a worker that is done must not wait for the disk to be given more.
        self._disk = Background("batch")
        self._writing: deque[tuple[Future[Record], Job, _Task]] = deque()
        self._noting: deque[Future[Record]] = deque()
        self._earlier = self._find_earlier() if options.resume else {}

    @property
    def billed_usd(self) -> float:
        """What is known to have been billed since the batch began."""
        return self._queue.spent().session

    def unpaid(self, rows: Sequence[Row]) -> list[Row]:
        """Return those of `rows` for which no job of an earlier run has an asset."""
        made = Counter(key for key, jobs in self._earlier.items() for job in jobs if job.state in _MADE)
        found = []
        for row in rows:
            key = self._key(row)
            if made[key] > 0:
                made[key] -= 1
            else:
                found.append(row)
        return found

    def take(self, rows: Sequence[Row]) -> None:
        """Let `rows`, as the server takes them, count in place of those of the same numbers."""
        self._taken |= {row.number: row for row in rows}

    def carry_out(self, rows: Sequence[Row]) -> None:
        """Bring `rows` to their end. What fails is in the report; nothing of that is raised."""
        waiting = deque(rows)
        while waiting or self._tasks or self._writing or self._noting:
            self._heed(self._interrupted())
            while waiting and (self._stopping or self._stop):
                self._skip(waiting.popleft())
            while waiting and len(self._tasks) + len(self._writing) < self._window and not self._stop:
                self._begin(waiting.popleft())
            self._queue.step()
            session.session.inquiries.take(self._queue.answers())
            for job in [self._queue.job(name) for name in self._tasks]:
                if not job.active:
                    self._end(job, self._tasks.pop(job.id))
            self._settle()
            self._report.tick(sum(self._queue.job(name).state is not State.QUEUED for name in self._tasks))
            time.sleep(min(self._queue.delay_s(), NAP_S))
        self._disk.close(PATIENCE_S)

    def _heed(self, pressed: int) -> None:
        """Begin nothing more once Ctrl-C was pressed; stop what runs when it was pressed twice."""
        if pressed > self._stopping == 0 and pressed < 2:
            self._report.stopping("Stopping. What runs is finished first; Ctrl-C once more stops that, too.")
            self._stopping = 1
            self._withdraw()
        if pressed > 1 and self._stopping < 2:
            self._report.stopping("Stopping what runs.")
            self._stopping = 2
            for name in self._tasks:
                if self._queue.job(name).active:
                    self._queue.cancel(name)

    def _withdraw(self) -> None:
        """Take back what only stands in line, and of which no server knows anything."""
        for name, task in self._tasks.items():
            job = self._queue.job(name)
            if task.source is None and job.state is State.QUEUED and not job.remote_id:
                self._queue.cancel(name)

    def _begin(self, row: Row) -> None:
        """Have a row made, or what an earlier run has made of it finished."""
        key = self._key(row)
        task = _Task(row, key)
        job = self._earlier_job(key)
        try:
            if job is None or job.state not in _MADE:
                request = self._taken.get(row.number, row).request
                self._budget.hold(row.number, pricing.price_of(request))
            if job is None:
                job = self._queue.job(self._queue.submit(request, {MARK: key}))
            elif job.state in (State.FAILED, State.CANCELLED):
                self._queue.retry(job.id)
                job = self._queue.job(job.id)
        except EspalierError as error:
            self._skip(row, error)
            return
        if job.active:
            self._tasks[job.id] = task
        else:
            self._end(job, task)

    def _end(self, job: Job, task: _Task) -> None:
        """Go on with a job that is at its end: to the levels of detail, to its files, or to the report of a failure."""
        if task.source is None:
            self._budget.settle(task.row.number, _billed(job))
        try:
            if job.error is not None:
                raise job.error
            if job.state not in _MADE or job.folder is None:
                raise EspalierError("job_stopped", name=task.row.request.name)
            if task.source is None and task.row.lods:
                self._rebuild(job, task)
                return
            self._deliver(job, task)
        except EspalierError as error:
            if (self._stopping or self._stop) and job.state is State.CANCELLED and not (job.remote_id or job.digest):
                self._skip(task.row)
            else:
                self._fail(task, job, error)

    def _rebuild(self, job: Job, task: _Task) -> None:
        """Have the levels of detail made of the asset of `job`."""
        assert job.folder is not None, job.id
        task.source = job
        key = task.key + LEVELS
        levels = self._earlier_job(key)
        if levels is None or levels.state in (State.FAILED, State.CANCELLED):
            levels = self._queue.job(self._queue.submit(task.row.levels(job.folder / ASSET), {MARK: key}))
        if levels.active:
            self._tasks[levels.id] = task
        else:
            self._end(levels, task)

    def _deliver(self, job: Job, task: _Task) -> None:
        """Begin to write the files of a row and its line of the report; what needs Blender is done now."""
        source = task.source or job
        record = replace(self._results.of(task.row.number), key=task.key)
        write = partial(deliver, job, source, record, self._wanted, self._options.output)
        if self._wanted.blend or self._wanted.preview or self._wanted.library:
            done = write()
            write = partial(lambda: done)
        self._writing.append((self._disk.submit(lambda: self._put(write())), job, task))

    def _put(self, record: Record) -> Record:
        self._results.put(record)
        return record

    def _settle(self) -> None:
        """See what has been written, and let go of what the library has of it."""
        while self._noting and self._noting[0].done():
            self._tell_trouble(self._noting.popleft().exception())
        while self._writing and self._writing[0][0].done():
            future, job, task = self._writing.popleft()
            error = future.exception()
            if isinstance(error, EspalierError):
                self._fail(task, job, error)
                continue
            record = future.result()
            source = task.source or job
            for made in {job.id: job, source.id: source}.values():
                if made.state is State.READY:
                    self._queue.mark_imported(made.id)
                # What was paid for is kept where the output only has what was rebuilt of it.
                if made is job or made.request.engine in FREE:
                    self._disk.submit(partial(discard, made))
            self._report.came_out(record)

    def _fail(self, task: _Task, job: Job, error: EspalierError) -> None:
        record = self._results.of(task.row.number)
        record = replace(record, state=FAILED, key=task.key, job=job.id, usd=job.spent or None, error=_told(error))
        self._noting.append(self._disk.submit(lambda: self._put(record)))
        self._report.went_wrong(record, error)
        if self._options.fail_fast:
            self._halt(error, "Stopping after this failure, as asked for. What runs is finished first.")
        elif error.code in FAILS_ALL or (error.code == "output_unwritable" and not self._writable()):
            self._halt(error, "Stopping, for the others would fail alike. What runs is finished first.")

    def _skip(self, row: Row, error: EspalierError | None = None) -> None:
        told = error or EspalierError("batch_stopped", name=row.request.name)
        record = replace(self._results.of(row.number), state=SKIPPED, error=_told(told))
        self._noting.append(self._disk.submit(lambda: self._put(record)))
        if error is not None:
            self._report.left_out(record, error)

    def _halt(self, error: EspalierError, text: str) -> None:
        if self._stop is None:
            self._stop = error
            self._report.stopping(text)
            self._withdraw()

    def _tell_trouble(self, error: BaseException | None) -> None:
        """Tell that a record of what did not come out cannot be put into the report, if that is so."""
        if error is None:
            return
        if not isinstance(error, EspalierError):
            raise error
        if self._stop is None:
            self._report.trouble(error)
        self._halt(error, "Stopping, for the report cannot be written. What runs is finished first.")

    def _writable(self) -> bool:
        """Tell whether the output as a whole can be written to."""
        try:
            ensure_writable(self._options.output / "report.json")
        except EspalierError:
            return False
        return True

    def _key(self, row: Row) -> str:
        """Return the key of a row, whose image is read for it if it was not yet; empty where that cannot be done."""
        if row.number not in self._keys:
            content = content_of(row.request.image)
            self._keys[row.number] = row.key(content) if content else ""
        return self._keys[row.number]

    def _find_earlier(self) -> dict[str, list[Job]]:
        """Return the jobs of earlier runs that need not, or must not, be ordered again, by the keys of their rows.

        What only stood in line when its Blender was killed is begun anew, if it is still wanted and within the budget.
        Of what was killed between the report and the library, the library's copy goes now.
        """
        for job in self._queue.resume():
            if MARK in job.placement and job.state is State.QUEUED and not job.remote_id:
                self._queue.cancel(job.id)
        delivered = {record.job for record in self._results.records if record.state == DONE}
        keys = {key for key in self._keys.values() if key}

        def wanted(job: Job) -> bool:
            return job.id in delivered or str(job.placement.get(MARK, "")).removesuffix(LEVELS) in keys

        self._queue.recall(wanted)
        found: dict[str, list[Job]] = {}
        for job in self._queue.jobs():
            key = job.placement.get(MARK)
            if job.id in delivered:
                self._disk.submit(partial(discard, job))
            elif isinstance(key, str) and key and _worth_keeping(job):
                found.setdefault(key, []).append(job)
        for jobs in found.values():
            jobs.sort(key=lambda job: job.state not in _MADE)
        return found

    def _earlier_job(self, key: str) -> Job | None:
        """Return a job of an earlier run for a row with this key, each once, those that have an asset first."""
        jobs = self._earlier.get(key)
        return jobs.pop(0) if key and jobs else None


def _worth_keeping(job: Job) -> bool:
    """Tell whether a job of an earlier run has an asset, is under way, or may be known to a server."""
    if job.state in _MADE:
        return job.folder is not None and (job.folder / ASSET).is_file()
    return job.active or job.state is State.UNKNOWN or bool(job.remote_id)


def _billed(job: Job) -> float | None:
    """Return what a job at its end has cost; None where the server may have billed something that it did not tell."""
    if job.request.engine in FREE:
        return 0.0
    if job.spent > 0:
        return job.spent
    return None if job.digest or job.remote_id or job.state is State.UNKNOWN else 0.0


def _told(error: EspalierError) -> dict[str, Any]:
    return {"code": error.code, "cause": error.cause, "remedy": error.remedy}
