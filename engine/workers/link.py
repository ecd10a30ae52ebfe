# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's process and its three pipes, served by threads that know no `bpy`."""

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
from queue import Empty, SimpleQueue
from typing import IO

from .containment import Contained
from .log import Log
from .messages import FROM_CHILD, LINE_LIMIT, Message, MessageError, decode

_TAIL_LINES = 40
_LET_GO_S = 0.005


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that is not a message came out of the process."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exit:
    """The process is gone, or never was; with why, in words."""

    reason: str


class Link:
    """The process of `command`, started at once in a thread. No method waits for it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Log) -> None:
        self.pid: int | None = None
        self._log = log
        self._contained: Contained | None = None
        self._kill_wanted = False
        self._inbox: SimpleQueue[Message | Garbage | Exit] = SimpleQueue()
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        # Not threading.Thread, whose start waits until the thread runs: on a busy machine, for long.
        _thread.start_new_thread(self._live, (command, environment))

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not received yet."""
        return self._inbox.empty()

    def send(self, line: bytes) -> None:
        """Have `line` written to the process."""
        self._outbox.put(line)

    def receive(self) -> Message | Garbage | Exit | None:
        """Return what came next, None if nothing. The last thing that comes is Exit."""
        try:
            return self._inbox.get_nowait()
        except Empty:
            return None

    def terminate(self) -> None:
        """Ask the process and all it started to end."""
        if self._contained is not None:
            self._contained.terminate()

    def kill(self) -> None:
        """End the process and all it started, as soon as there is one."""
        self._kill_wanted = True
        if self._contained is not None:
            self._contained.kill()

    def last_words(self) -> str:
        """Return the last lines that it wrote to its log."""
        return "\n".join(self._tail.copy())

    # What follows runs in threads of its own and touches nothing but the process, the log and the two queues.

    def _live(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start the process, wait until it has ended, and say so. Its end by the parent's hangs on this thread."""
        # Python's lock is held while a process is made: first let the step that asked for it end.
        time.sleep(_LET_GO_S)
        try:
            contained = Contained(command, environment)
        except (OSError, ValueError) as error:
            self._inbox.put(Exit(str(error)))
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
        self._inbox.put(Exit(_describe(code)))

    def _read(self, stream: IO[bytes]) -> None:
        with stream, contextlib.suppress(OSError):
            while line := stream.readline(LINE_LIMIT + 1):
                if not line.endswith(b"\n"):
                    if len(line) > LINE_LIMIT:
                        self._inbox.put(Garbage("a line without end"))
                        _drain(stream)
                    return
                try:
                    self._inbox.put(decode(line, FROM_CHILD))
                except MessageError as error:
                    self._inbox.put(Garbage(f"{error}: {line[:200]!r}"))

    def _write(self, stream: IO[bytes]) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # Blender, unlike Python, leaves SIGPIPE as it is: a child that is gone would take Blender with it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
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
