# SPDX-License-Identifier: GPL-3.0-or-later
"""The child: loads one engine, then makes one job after the other until it is told to end or its parent is gone."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

from ..errors import EspalierError
from ..progress import Cancelled, Progress
from ..request import request_from_json
from . import tether
from .channel import Channel
from .execute import as_failure, execute
from .messages import (
    PROTOCOL,
    CancelJob,
    CancelledJob,
    Failed,
    Hello,
    MessageError,
    Reached,
    Result,
    RunJob,
    Shutdown,
    Started,
)

if TYPE_CHECKING:
    from ..backends.base import Backend


class Child:
    """What the two threads of the child share: one reads orders, the main one carries them out."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._jobs: SimpleQueue[RunJob | None] = SimpleQueue()
        self._cancelled: set[str] = set()

    def listen(self) -> None:
        """Take the parent's orders; end the process when there is no parent any more, or none that can be understood.

        A loop in native code may keep the main thread from ever answering, so nothing is left to it.
        """
        try:
            for order in self._channel.orders():
                if isinstance(order, RunJob):
                    # Said of an earlier run of the same job, after that had ended.
                    self._cancelled.discard(order.job)
                    self._jobs.put(order)
                elif isinstance(order, CancelJob):
                    self._cancelled.add(order.job)
                elif isinstance(order, Shutdown):
                    self._jobs.put(None)
        except (MessageError, OSError):
            traceback.print_exc()
        tether.end()

    def serve(self, name: str) -> None:
        """Load the engine `name` and make jobs with it until told to end."""
        self._channel.beat(True)
        try:
            backend = load(name)
        except Exception as error:
            self._channel.send(Failed("", _start_failure(error, name).to_json()))
            raise
        self._channel.send(Hello(PROTOCOL, backend.name, backend.version, os.getpid(), sys.version.split()[0]))
        self._channel.beat(False)
        while (order := self._jobs.get()) is not None:
            self._channel.beat(True)
            self._make(backend, order)
            self._channel.beat(False)
        backend.close()

    def _make(self, backend: Backend, order: RunJob) -> None:
        folder = Path(order.folder)
        self._channel.send(Started(order.job))

        def report(progress: Progress) -> None:
            self._channel.send(
                Reached(order.job, progress.stage, progress.label, min(max(progress.fraction, 0.0), 1.0), progress.note)
            )

        def cancelled() -> bool:
            return order.job in self._cancelled

        try:
            request = request_from_json(order.request)
            result = execute(backend, request, folder, report, cancelled, order.remote_id)
            self._channel.send(Result(order.job, result))
        except Cancelled:
            self._channel.send(CancelledJob(order.job))
        except Exception as error:
            failure = as_failure(error, backend.name, folder)
            print(failure, failure.detail, sep="\n", file=sys.stderr, flush=True)
            self._channel.send(Failed(order.job, failure.to_json()))


def load(name: str) -> Backend:
    """Return a new backend: of the engine `name`, or what the callable `module:callable` returns."""
    module, colon, attribute = name.partition(":")
    if colon:
        return cast("Callable[[], Backend]", getattr(import_module(module), attribute))()
    from ..backends import create

    return create(name)


def _start_failure(error: Exception, name: str) -> EspalierError:
    failure = as_failure(error, name, Path())
    if failure.code != "internal":
        return failure
    return EspalierError("worker_start", failure.detail, engine=name, reason=failure.fields["reason"], log="")


def main() -> None:
    """Run the child, whose first two arguments are the engine and its parent's process number (see `launch`)."""
    channel = Channel()
    engine, parent = sys.argv[1], int(sys.argv[2])
    tether.tie(parent)
    child = Child(channel)
    threading.Thread(target=child.listen, name="orders", daemon=True).start()
    child.serve(engine)
