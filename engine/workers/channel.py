# SPDX-License-Identifier: GPL-3.0-or-later
"""The child's side of the pipe: private copies of its standard streams, so that nobody else can speak or listen."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

from .messages import LINE_LIMIT, TO_CHILD, Heartbeat, Message, decode, encode

HEARTBEAT_S = 1.0


class Channel:
    """Sends messages to the parent and reads those of the parent.

    Made before anything else: it moves standard input and output away. What a library then prints, be it through
    Python or in C, goes to standard error, which is the log, and what reads the standard input finds nothing there.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._output = os.dup(1)
        os.dup2(2, 1)
        self._input = os.fdopen(os.dup(0), "rb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self._lock = threading.Lock()
        self._beating = threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def send(self, message: Message) -> None:
        """Send `message`. Raises MessageError where it does not fit in a line, OSError if the parent is gone."""
        line = encode(message)
        with self._lock:
            view = memoryview(line)
            while view:
                view = view[os.write(self._output, view) :]

    def orders(self) -> Iterator[Message]:
        """Yield what the parent says, until it is gone. Raises MessageError for what is not a message."""
        while line := self._input.readline(LINE_LIMIT + 1):
            yield decode(line, TO_CHILD)

    def beat(self, on: bool) -> None:
        """Say once a second that the child is alive, or cease to."""
        if on:
            self._beating.set()
        else:
            self._beating.clear()

    def _beat(self) -> None:
        pause = threading.Event()
        while True:
            self._beating.wait()
            try:
                self.send(Heartbeat())
            except OSError:
                return
            pause.wait(HEARTBEAT_S)
