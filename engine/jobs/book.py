# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs in memory, and their transitions on the way to the ledger: first written down, then shown and acted on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import EspalierError
from .background import Background
from .estimate import Estimate
from .job import ACTIVE, MOVES, Job, State
from .ledger import Ledger, Move, Row, Trace
from .library import Library

_NEVER_WRITTEN = -1
_MOMENT: Mapping[str, Any] = {"stage": "", "label": "", "note": "", "fraction": 0.0, "remaining_s": None}

Follow = Callable[[Any, BaseException | None], None]


def nothing() -> None:
    """Do nothing: the act of a transition that announces none."""


@dataclass(slots=True)
class Transition:
    """A move on its way to the disk: once it is there the job is shown in its new state, and `act` is done.

    If it does not get there, `fail` is called in place of giving the job up.
    """

    future: Future[bool]
    state: State
    changes: Mapping[str, Any]
    act: Callable[[], None]
    shown: bool
    point: str = ""
    fail: Callable[[EspalierError], None] | None = None


@dataclass(slots=True)
class Entry:
    """A job in memory. `serial` is that of its last transition, written or on its way."""

    job: Job
    serial: int
    pending: deque[Transition] = field(default_factory=deque)
    work: tuple[Future[Any], Follow] | None = None
    estimate: Estimate | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is on its way for it."""
        return not self.pending and self.work is None


class Book:
    """All jobs that are shown. `abandon` is called for one that must not go on, with whatever works on it."""

    def __init__(self, ledger: Ledger, library: Library, files: Background, trace: Trace) -> None:
        self.entries: dict[str, Entry] = {}
        self.unsettled: dict[str, Entry] = {}
        self.abandon: Callable[[Entry], None] = lambda entry: None
        self._ledger = ledger
        self._library = library
        self._files = files
        self._trace = trace
        self._changed: dict[str, None] = {}
        self._writing: list[tuple[Future[Any], Follow]] = []

    @property
    def writing(self) -> bool:
        """Whether something decided is not in the ledger yet."""
        return bool(self.unsettled or self._writing)

    @property
    def changed(self) -> bool:
        """Whether a job changed since `take_changed`."""
        return bool(self._changed)

    def entry(self, job_id: str) -> Entry:
        """Return the entry of a job. Raises EspalierError `job_unknown`."""
        try:
            return self.entries[job_id]
        except KeyError:
            raise EspalierError("job_unknown", job=job_id) from None

    def add(self, job: Job) -> None:
        """Show a new job, and write it down."""
        entry = self.entries[job.id] = Entry(job, 0)
        self._expect(entry, Transition(self._ledger.insert(job), job.state, {}, nothing, True))
        self.note(entry)

    def keep(self, row: Row) -> Entry:
        """Show a job that is in the ledger."""
        entry = self.entries[row.job.id] = Entry(self._placed(row.job), row.serial)
        return entry

    def note(self, entry: Entry, **changes: Any) -> None:
        """Change what is shown of a job, and remember that it changed."""
        entry.job = replace(entry.job, **changes)
        self._changed[entry.job.id] = None

    def take_changed(self) -> list[Job]:
        """Return the jobs that changed since the last call."""
        changed = [self.entries[job].job for job in self._changed if job in self.entries]
        self._changed.clear()
        return changed

    def move(
        self,
        entry: Entry,
        state: State,
        act: Callable[[], None] = nothing,
        *,
        shown: bool = False,
        point: str = "",
        fail: Callable[[EspalierError], None] | None = None,
        **changes: Any,
    ) -> None:
        """Begin a transition; `shown` shows it before it is written, for what a person decided.

        `point` is its name for the trace, `fail` what to do where it cannot be written.
        """
        if state not in MOVES[entry.job.state]:
            raise ValueError(f"{entry.job.state} cannot become {state}")
        entry.serial += 1
        if entry.serial > 0:
            future = self._ledger.move(Move(entry.job.id, entry.serial - 1, state, changes, point))
        else:
            future = self._ledger.insert(self._after(entry.job, state, changes))
        if shown:
            entry.job = self._after(entry.job, state, changes)
            self.note(entry)
        self._expect(entry, Transition(future, state, changes, act, shown, point, fail))

    def mark(self, values: Mapping[str, Mapping[str, Any]], future: Future[Any]) -> None:
        """Show new values of fields that are no part of a transition, by job, while `future` is their way to the disk.

        Where they do not get there, the values of before are shown again, with the reason as the note.
        """
        before: dict[str, dict[str, Any]] = {}
        for name, fields in values.items():
            entry = self.entries[name]
            before[name] = {field: getattr(entry.job, field) for field in fields}
            self.note(entry, **fields)

        def follow(_value: Any, error: BaseException | None) -> None:
            if error is None:
                return
            if not isinstance(error, EspalierError):
                raise error
            for name, fields in values.items():
                found = self.entries.get(name)
                if found is not None and all(getattr(found.job, field) == value for field, value in fields.items()):
                    self.note(found, **before[name], note=error.cause)

        self._writing.append((future, follow))

    def work(self, entry: Entry, task: Callable[[], Any], follow: Follow) -> None:
        """Have `task` done in the library's thread, then call `follow` with what it returned or raised."""
        entry.work = (self._files.submit(task), follow)
        self.unsettled[entry.job.id] = entry

    def settle(self, deadline: float) -> None:
        """Do what follows from transitions and file work that are done, until `deadline` (of perf_counter)."""
        while self._writing and self._writing[0][0].done():
            future, follow = self._writing.pop(0)
            follow(None, future.exception())
        for entry in list(self.unsettled.values()):
            self._settle(entry)
            if time.perf_counter() > deadline:
                return

    def _expect(self, entry: Entry, transition: Transition) -> None:
        entry.pending.append(transition)
        self.unsettled[entry.job.id] = entry

    def _settle(self, entry: Entry) -> None:
        while entry.pending and entry.pending[0].future.done():
            self._written(entry, entry.pending.popleft())
        if entry.work is not None and entry.work[0].done():
            future, follow = entry.work
            entry.work = None
            error = future.exception()
            follow(future.result() if error is None else None, error)
        if entry.settled:
            self.unsettled.pop(entry.job.id, None)

    def _written(self, entry: Entry, transition: Transition) -> None:
        error = transition.future.exception()
        if error is not None:
            self._unwritten(entry, transition, error)
        elif not transition.future.result():
            self._lost(entry)
        else:
            if not transition.shown:
                entry.job = self._after(entry.job, transition.state, transition.changes)
                self.note(entry)
            point = transition.point or transition.state
            self._trace(f"before-act {point}")
            transition.act()
            self._trace(f"after-act {point}")

    def _unwritten(self, entry: Entry, transition: Transition, error: BaseException) -> None:
        """Give a job up that cannot be written down: nothing may be done that is not in the ledger."""
        if not isinstance(error, EspalierError):
            raise error
        entry.serial = max(entry.serial - 1 - len(entry.pending), _NEVER_WRITTEN)
        entry.pending.clear()
        if transition.fail is not None:
            transition.fail(error)
        elif entry.job.active:
            self.abandon(entry)
            self.note(entry, **_MOMENT, cancelling=False, state=State.FAILED, error=error, finished=time.time())

    def _lost(self, entry: Entry) -> None:
        """Leave a job to the other Blender that has moved it, and show what that one made of it."""
        entry.pending.clear()
        self.abandon(entry)

        def follow(row: Row | None, error: BaseException | None) -> None:
            del self.entries[entry.job.id]
            if row is not None and not row.job.active:
                self.note(self.keep(row))

        entry.work = (self._ledger.row(entry.job.id), follow)

    def _after(self, job: Job, state: State, changes: Mapping[str, Any]) -> Job:
        """Return `job` in its new state, without the figures of the moment unless it goes on."""
        values = dict(changes)
        if state not in (State.RUNNING, State.FETCHING):
            values |= _MOMENT
        if state is State.READY:
            values["fraction"] = 1.0
        if state not in ACTIVE:
            values["cancelling"] = False
        return self._placed(replace(job, **values, state=state))

    def _placed(self, job: Job) -> Job:
        placed = job.state in (State.READY, State.IMPORTED)
        return replace(job, folder=self._library.place(job.id) if placed else None)
