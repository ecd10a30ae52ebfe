# SPDX-License-Identifier: GPL-3.0-or-later
"""The parent's side of a worker. Nothing here blocks the caller: waiting is done by threads that know no `bpy`."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from ..errors import EspalierError
from .containment import Contained
from .launch import Launch, current_launch
from .log import Log
from .messages import (
    FROM_CHILD,
    LINE_LIMIT,
    PROTOCOL,
    CancelJob,
    CancelledJob,
    Failed,
    Heartbeat,
    Hello,
    Message,
    MessageError,
    Reached,
    Result,
    RunJob,
    Shutdown,
    Started,
    decode,
    encode,
)

__all__ = ["Ended", "Event", "Launch", "Limits", "Worker", "current_launch"]

_TAIL_LINES = 40
_MOST_QUIET_STEP_S = 1.0
_LET_GO_S = 0.005


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
    """The worker's process is gone. `error` is what to say about a job that it had, `started` if it had begun one."""

    error: EspalierError
    started: bool


@dataclass(frozen=True, slots=True)
class _Garbage:
    reason: str


@dataclass(frozen=True, slots=True)
class _Exit:
    code: int | None
    reason: str = ""


Event = Started | Reached | Result | Failed | CancelledJob | Ended


class Worker:
    """One child process of `engine`, started at once in a thread and kept for job after job.

    Call `watch` at every step and `receive` until it returns None. `bytecode` is a folder for compiled modules,
    `threads` how many threads its numerical libraries may use.
    """

    def __init__(
        self,
        engine: str,
        launch: Launch,
        log: Log,
        limits: Limits | None = None,
        bytecode: Path | None = None,
        threads: int = 1,
    ) -> None:
        self.engine = engine
        self.job = ""
        """The job that it has, empty while it waits for one."""
        self.idle_since = time.monotonic()
        self.end: Ended | None = None
        """How it ended, once it has."""
        self.pid: int | None = None
        self._launch = launch
        self._log = log
        self._limits = limits or Limits()
        self._ready = False
        self._started = False
        self._error: EspalierError | None = None
        self._quiet = 0.0
        self._watched = time.monotonic()
        self._force_at: float | None = None
        self._terminated = False
        self._leaving = False
        self._kill_wanted = False
        self._contained: Contained | None = None
        self._inbox: SimpleQueue[Message | _Garbage | _Exit] = SimpleQueue()
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        command = launch.command(engine, bytecode)
        environment = launch.environment(threads)
        # Not threading.Thread, whose start waits until the thread runs: on a busy machine, for long.
        _thread.start_new_thread(self._live, (command, environment))

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self.end is not None

    @property
    def free(self) -> bool:
        """Whether it may be given a job."""
        return not (self.job or self.ended or self._leaving)

    def run(self, job: str, request: Mapping[str, Any], folder: Path, remote_id: str = "") -> None:
        """Give it `job`, to be made in `folder`. Raises MessageError for a request that does not fit in a message."""
        line = encode(RunJob(job, dict(request), str(folder), remote_id))
        self.job = job
        self._started = False
        self._quiet = 0.0
        self._outbox.put(line)

    def cancel(self) -> None:
        """Ask it to give up its job; `watch` ends the process if it does not answer in time."""
        if self.job and self._force_at is None:
            self._outbox.put(encode(CancelJob(self.job)))
            self._force_at = time.monotonic() + self._limits.cancel_s

    def stop(self) -> None:
        """Ask it to end; `watch` sees to it that it does."""
        if not self._leaving:
            self._leaving = True
            self._outbox.put(encode(Shutdown()))
            self._force_at = time.monotonic() + self._limits.cancel_s

    def kill(self, error: EspalierError | None = None) -> None:
        """End it and everything it started, because of `error`."""
        self._leaving = True
        self._error = self._error or error
        self._kill_wanted = True
        if self._contained is not None:
            self._contained.kill()

    def watch(self) -> None:
        """Do what is due: end it if it is silent, or if it was asked to stop and has not."""
        now = time.monotonic()
        passed, self._watched = now - self._watched, now
        if self.ended:
            return
        # Time in which nobody listened (a render, a suspended machine) is not the worker's silence.
        if self._inbox.empty() and (self.job or not self._ready):
            self._quiet += min(passed, _MOST_QUIET_STEP_S)
        else:
            self._quiet = 0.0
        if self._quiet > self._limits.silent_s and not self._kill_wanted:
            seconds = f"{self._limits.silent_s:.0f}"
            self.kill(
                EspalierError(
                    "worker_silent", self._last_words(), engine=self.engine, seconds=seconds, log=self._log.path
                )
            )
        if self._force_at is not None and now >= self._force_at:
            self._leaving = True
            self._force_at = now + self._limits.terminate_s
            if self._terminated:
                self.kill()
            elif self._contained is not None:
                self._contained.terminate()
            self._terminated = True

    def receive(self) -> Event | None:
        """Return what it said next, None if nothing. The last thing that comes is Ended."""
        while True:
            try:
                message = self._inbox.get_nowait()
            except Empty:
                return None
            self._quiet = 0.0
            event = self._understand(message)
            if event is not None:
                return event

    def _understand(self, message: Message | _Garbage | _Exit) -> Event | None:
        if isinstance(message, _Exit):
            self.end = Ended(self._reason(message), self._started)
            return self.end
        if isinstance(message, _Garbage):
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
        if isinstance(message, (RunJob, CancelJob, Shutdown)) or message.job != self.job or not self._ready:
            self._refuse(f"{message!r:.200} out of turn")
            return None
        if isinstance(message, Started):
            self._started = True
        elif not self._started:
            self._refuse(f"{message!r:.200} before started")
            return None
        elif isinstance(message, (Result, Failed, CancelledJob)):
            self.job = ""
            self._started = False
            self.idle_since = time.monotonic()
            if not self._leaving:
                self._force_at = None
        return message

    def _refuse(self, reason: str) -> None:
        detail = f"{reason}\n{self._last_words()}"
        self.kill(EspalierError("worker_garbled", detail, engine=self.engine, log=self._log.path))

    def error_of(self, message: Failed) -> EspalierError:
        """Return the error in `message`, with the place of this worker's log where it names a log."""
        error = EspalierError.from_json(message.error)
        if "log" in error.fields and not error.fields["log"]:
            error = EspalierError(error.code, error.detail, **{**error.fields, "log": str(self._log.path)})
        return error

    def _reason(self, end: _Exit) -> EspalierError:
        if self._error is not None:
            return self._error
        reason = end.reason or _describe(end.code)
        code = "worker_died" if self._ready else "worker_start"
        return EspalierError(code, self._last_words(), engine=self.engine, reason=reason, log=self._log.path)

    def _last_words(self) -> str:
        return "\n".join(self._tail.copy())

    # What follows runs in threads of its own and touches nothing but the process, the log and the two queues.

    def _live(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start the process, wait until it has ended, and say so. Its end by the parent's hangs on this thread."""
        # Python's lock is held while a process is made: first let the step that asked for it end.
        time.sleep(_LET_GO_S)
        try:
            contained = Contained(command, environment)
        except (OSError, ValueError) as error:
            self._inbox.put(_Exit(None, str(error)))
            return
        process = contained.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._contained = contained
        self.pid = process.pid
        if self._kill_wanted:  # asked for while there was nothing to kill yet
            contained.kill()
        readers = [
            threading.Thread(target=self._read, args=(process.stdout,), name="worker messages", daemon=True),
            threading.Thread(target=self._keep_log, args=(process.stderr, process.pid), name="worker log", daemon=True),
        ]
        for thread in readers:
            thread.start()
        threading.Thread(target=self._write, args=(process.stdin,), name="worker orders", daemon=True).start()
        code = contained.wait()
        for thread in readers:
            thread.join(5.0)
        self._outbox.put(None)
        self._inbox.put(_Exit(code))

    def _read(self, stream: IO[bytes]) -> None:
        with stream, contextlib.suppress(OSError):
            while line := stream.readline(LINE_LIMIT + 1):
                if not line.endswith(b"\n"):
                    if len(line) > LINE_LIMIT:
                        self._inbox.put(_Garbage("a line without end"))
                        _drain(stream)
                    return
                try:
                    self._inbox.put(decode(line, FROM_CHILD))
                except MessageError as error:
                    self._inbox.put(_Garbage(f"{error}: {line[:200]!r}"))

    def _write(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError):  # a broken pipe: the child's end is noticed elsewhere
            while (line := self._outbox.get()) is not None:
                stream.write(line)
                stream.flush()
        with contextlib.suppress(OSError):
            stream.close()

    def _keep_log(self, stream: IO[bytes], pid: int) -> None:
        rest = b""
        with stream, contextlib.suppress(OSError):
            while data := os.read(stream.fileno(), 65536):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > 4096:
                    lines.append(rest)
                    rest = b""
                self._note(lines, pid)
        if rest:
            self._note([rest], pid)

    def _note(self, lines: list[bytes], pid: int) -> None:
        texts = [line[:4096].decode("utf-8", "backslashreplace").rstrip("\r") for line in lines]
        self._tail.extend(texts[-_TAIL_LINES:])
        if texts:
            self._log.write(f"[{pid}]", texts)


def _drain(stream: IO[bytes]) -> None:
    while stream.read(65536):
        pass


def _describe(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
