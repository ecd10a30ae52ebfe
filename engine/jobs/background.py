# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that does in order what would keep Blender's main thread waiting: moving and removing folders."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """One thread and the tasks before it. It does not keep the program from ending."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Have `task` done after all that were submitted before; the future holds what it returns or raises."""
        future: Future[T] = Future()
        self._tasks.put((task, future))
        return future

    def close(self, timeout_s: float) -> None:
        """Do what was submitted so far, then end the thread; wait for that at most `timeout_s`."""
        self._tasks.put(None)
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        while (item := self._tasks.get()) is not None:
            task, future = item
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)
