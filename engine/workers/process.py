# SPDX-License-Identifier: GPL-3.0-or-later
"""The parent's side of a worker. Nothing here blocks the caller: waiting is done by the threads of its link."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import EspalierError
from .launch import Launch, current_launch
from .link import Exit, Garbage, Link
from .log import Log
from .messages import (
    PROTOCOL,
    Accepted,
    Answer,
    Ask,
    CancelJob,
    CancelledJob,
    Failed,
    Heartbeat,
    Hello,
    Message,
    Reached,
    Result,
    RunJob,
    Shutdown,
    Started,
    Submitting,
    Written,
    encode,
)

__all__ = ["Ended", "Event", "Launch", "Limits", "Worker", "current_launch"]

_MOST_QUIET_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of patience with a worker.

    `silent_s` without a word while it starts or works; `cancel_s` between asking it to cancel, or to shut down, and
    asking the system to end it; `terminate_s` between that and killing it.
    """

    silent_s: float = 60.0
    cancel_s: float = 5.0
    terminate_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker's process is gone. `error` is what to say about what it had: jobs, and whether it had begun each."""

    error: EspalierError
    jobs: Mapping[str, bool] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()

    @property
    def started(self) -> bool:
        """Whether it had begun a job."""
        return any(self.jobs.values())


Event = Started | Reached | Submitting | Accepted | Result | Failed | CancelledJob | Answer | Ended


@dataclass(slots=True)
class _Task:
    started: bool = False
    force_at: float | None = None


class Worker:
    """One child process of `engine`, started at once in a thread and kept for job after job.

    Call `watch` at every step and `receive` until it returns None. `bytecode` is a folder for compiled modules,
    `threads` how many threads its numerical libraries may use, `room` how many jobs it has at a time.
    """

    def __init__(
        self,
        engine: str,
        launch: Launch,
        log: Log,
        limits: Limits | None = None,
        bytecode: Path | None = None,
        threads: int = 1,
        room: int = 1,
    ) -> None:
        self.engine = engine
        self.idle_since = time.monotonic()
        self.end: Ended | None = None
        """How it ended, once it has."""
        self.room = room
        self._log = log
        self._limits = limits or Limits()
        self._tasks: dict[str, _Task] = {}
        self._given_up: set[str] = set()
        self._asked: set[str] = set()
        self._ready = False
        self._error: EspalierError | None = None
        self._quiet = 0.0
        self._watched = time.monotonic()
        self._force_at: float | None = None
        self._terminated = False
        self._retiring = False
        self._leaving = False
        self._kill_wanted = False
        self._link = Link(launch.command(engine, bytecode), launch.environment(threads), log)

    @property
    def pid(self) -> int | None:
        """The number of its process, once there is one."""
        return self._link.pid

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs that it has."""
        return tuple(self._tasks)

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self.end is not None

    @property
    def open(self) -> bool:
        """Whether it may be given anything to do."""
        return not (self.ended or self._leaving or self._retiring)

    @property
    def free(self) -> bool:
        """Whether it may be given a job."""
        return self.open and len(self._tasks) < self.room

    @property
    def idle(self) -> bool:
        """Whether it waits for something to do."""
        return self.open and not (self._tasks or self._asked)

    def spare(self, job: str) -> int:
        """Return how many jobs it may be given now, if `job` is to be the first of them."""
        return self.room - len(self._tasks) if self.free and job not in self._given_up else 0

    def run(
        self,
        job: str,
        request: Mapping[str, Any],
        folder: Path,
        remote_id: str = "",
        account: Mapping[str, Any] | None = None,
        expected_s: Mapping[str, float] | None = None,
        server: str = "",
    ) -> None:
        """Give it `job`, to be made in `folder`. Raises MessageError for a request that does not fit in a message."""
        known = dict(account or {}), dict(expected_s or {})
        line = encode(RunJob(job, dict(request), str(folder), remote_id, *known, server))
        self._tasks[job] = _Task()
        self._quiet = 0.0
        self._link.send(line)

    def written(self, job: str) -> None:
        """Let it go on with `job`: what it said of it is on the disk."""
        self._link.send(encode(Written(job)))

    def ask(
        self, name: str, question: str, account: Mapping[str, Any], about: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Ask it `question`; the answer, or its end, names the question by `name`."""
        line = encode(Ask(name, question, dict(account), dict(about)))
        self._asked.add(name)
        self._link.send(line)

    def cancel(self, job: str = "") -> None:
        """Ask it to give up `job`, or all it has; `watch` sees to it that it does not take long."""
        for name, task in self._tasks.items():
            if name == (job or name) and task.force_at is None:
                self._link.send(encode(CancelJob(name)))
                task.force_at = time.monotonic() + self._limits.cancel_s

    def drop(self, job: str) -> None:
        """Hear no more of `job`; end the process if that is all it has."""
        self._link.send(encode(CancelJob(job)))
        self._give_up(job)
        if not self._tasks:
            self.kill()

    def retire(self) -> None:
        """Give it nothing more to do, and end it once it has nothing left."""
        self._retiring = True

    def stop(self) -> None:
        """Ask it to end; `watch` sees to it that it does."""
        if not self._leaving:
            self._leaving = True
            self._link.send(encode(Shutdown()))
            self._force_at = time.monotonic() + self._limits.cancel_s

    def kill(self, error: EspalierError | None = None) -> None:
        """End it and everything it started, because of `error`."""
        self._leaving = True
        self._error = self._error or error
        self._kill_wanted = True
        self._link.kill()

    def watch(self) -> None:
        """Do what is due: end it if it is silent, or if it was asked to stop and has not."""
        now = time.monotonic()
        passed, self._watched = now - self._watched, now
        if self.ended:
            return
        # Time in which nobody listened (a render, a suspended machine) is not the worker's silence.
        if self._link.quiet and (self._tasks or self._asked or not self._ready):
            self._quiet += min(passed, _MOST_QUIET_STEP_S)
        else:
            self._quiet = 0.0
        if self._quiet > self._limits.silent_s and not self._kill_wanted:
            seconds = f"{self._limits.silent_s:.0f}"
            self.kill(
                EspalierError(
                    "worker_silent",
                    self._link.last_words(),
                    engine=self.engine,
                    seconds=seconds,
                    log=self._log.path,
                )
            )
        if self._retiring and not (self._tasks or self._asked):
            self.stop()
        overdue = [task for task in self._tasks.values() if task.force_at is not None and now >= task.force_at]
        if (overdue and len(self._tasks) == 1) or (self._force_at is not None and now >= self._force_at):
            self._force(now)

    def _force(self, now: float) -> None:
        """Have the system end it: at first in a friendly way, then not."""
        for task in self._tasks.values():
            task.force_at = None
        self._leaving = True
        self._force_at = now + self._limits.terminate_s
        if self._terminated:
            self.kill()
        else:
            self._link.terminate()
        self._terminated = True

    def receive(self) -> Event | None:
        """Return what it said next, None if nothing. The last thing that comes is Ended."""
        while (message := self._link.receive()) is not None:
            self._quiet = 0.0
            event = self._understand(message)
            if event is not None:
                return event
        return self._overdue()

    def _overdue(self) -> Event | None:
        """Give up a job that was not cancelled in time, where others that the process has must not suffer for it."""
        now = time.monotonic()
        for job, task in self._tasks.items():
            if task.force_at is not None and now >= task.force_at and len(self._tasks) > 1:
                self._give_up(job)
                return CancelledJob(job)
        return None

    def _understand(self, message: Message | Garbage | Exit) -> Event | None:
        if isinstance(message, Exit):
            jobs = {job: task.started for job, task in self._tasks.items()}
            self.end = Ended(self._reason(message), jobs, frozenset(self._asked))
            return self.end
        if isinstance(message, Garbage):
            self._refuse(message.reason)
            return None
        if self._kill_wanted or isinstance(message, Heartbeat):
            return None
        if isinstance(message, Hello):
            if message.protocol != PROTOCOL:
                self._refuse(f"protocol {message.protocol}")
            self._ready = True
            return None
        if isinstance(message, Failed) and not message.job and not self._ready:
            self._error = self.error_of(message)
            return None
        if isinstance(message, Answer) and message.id in self._asked:
            self._asked.discard(message.id)
            self._rest()
            return message
        return self._about_a_job(message)

    def _about_a_job(self, message: Message) -> Event | None:
        final = isinstance(message, (Result, Failed, CancelledJob))
        if not isinstance(message, (Started, Reached, Submitting, Accepted, Result, Failed, CancelledJob)):
            self._refuse(f"{message!r:.200} out of turn")
            return None
        if message.job in self._given_up:
            if final:
                self._given_up.discard(message.job)
            return None
        task = self._tasks.get(message.job)
        if task is None or not self._ready:
            self._refuse(f"{message!r:.200} out of turn")
            return None
        if isinstance(message, Started):
            task.started = True
        elif not task.started:
            self._refuse(f"{message!r:.200} before started")
            return None
        elif final:
            del self._tasks[message.job]
            self._rest()
        return message

    def _give_up(self, job: str) -> None:
        if self._tasks.pop(job, None) is not None:
            self._given_up.add(job)
            self._rest()

    def _rest(self) -> None:
        """Note since when it has had nothing to do."""
        self.idle_since = time.monotonic()

    def _refuse(self, reason: str) -> None:
        detail = f"{reason}\n{self._link.last_words()}"
        self.kill(EspalierError("worker_garbled", detail, engine=self.engine, log=self._log.path))

    def error_of(self, message: Failed | Answer) -> EspalierError:
        """Return the error in `message`, with the place of this worker's log where it names a log."""
        error = EspalierError.from_json(message.error)
        if "log" in error.fields and not error.fields["log"]:
            error = EspalierError(error.code, error.detail, **{**error.fields, "log": str(self._log.path)})
        return error

    def _reason(self, end: Exit) -> EspalierError:
        if self._error is not None:
            return self._error
        code = "worker_died" if self._ready else "worker_start"
        words = self._link.last_words()
        return EspalierError(code, words, engine=self.engine, reason=end.reason, log=self._log.path)
