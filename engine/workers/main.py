# SPDX-License-Identifier: GPL-3.0-or-later
"""The child: loads one engine, then makes jobs and answers questions until it is told to end or its parent is gone."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

from ..errors import EspalierError
from ..progress import Cancelled
from ..request import request_from_json
from . import tether
from .channel import Channel
from .execute import as_failure, execute
from .handover import Handover
from .messages import (
    PROTOCOL,
    Answer,
    Ask,
    CancelJob,
    CancelledJob,
    Failed,
    Hello,
    MessageError,
    Result,
    RunJob,
    Shutdown,
    Started,
    Written,
)

if TYPE_CHECKING:
    from ..backends.base import Answering, Backend


class Child:
    """What the threads of the child share: one reads orders, the main one and its helpers carry them out."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._orders: SimpleQueue[RunJob | Ask | None] = SimpleQueue()
        self._runs: dict[str, Handover] = {}
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        self._at_work = 0
        self._helpers: list[threading.Thread] = []
        self._ending = False

    def listen(self) -> None:
        """Take the parent's orders; end the process when there is no parent any more, or none that can be understood.

        A loop in native code may keep the main thread from ever answering, so nothing is left to it.
        """
        try:
            for order in self._channel.orders():
                if isinstance(order, RunJob):
                    # Said of an earlier run of the same job, after that had ended.
                    self._cancelled.discard(order.job)
                    self._orders.put(order)
                elif isinstance(order, CancelJob):
                    self._cancelled.add(order.job)
                    if (run := self._runs.get(order.job)) is not None:
                        run.notice()
                elif isinstance(order, Written):
                    if (run := self._runs.get(order.job)) is not None:
                        run.written()
                elif isinstance(order, Ask):
                    self._orders.put(order)
                elif isinstance(order, Shutdown):
                    self._ending = True
                    self._orders.put(None)
        except (MessageError, OSError):
            traceback.print_exc()
        tether.end()

    def serve(self, name: str) -> None:
        """Load the engine `name`, then make jobs and answer questions with it until told to end."""
        self._channel.beat(True)
        try:
            backend = load(name)
        except Exception as error:
            self._channel.send(Failed("", _start_failure(error, name).to_json()))
            raise
        self._channel.send(Hello(PROTOCOL, backend.name, backend.version, os.getpid(), sys.version.split()[0]))
        self._channel.beat(False)
        many = getattr(backend, "jobs_at_once", 1) > 1
        while (order := self._orders.get()) is not None:
            if isinstance(order, Ask):
                self._help(self._answer, backend, order)
            elif many:
                self._help(self._make, backend, order)
            else:
                with self._working():
                    self._make(backend, order)
        for helper in self._helpers:
            helper.join()
        backend.close()

    def _help(self, act: Callable[..., None], *arguments: object) -> None:
        """Do `act` in a thread of its own, or here and now where the system has no more threads."""

        def work() -> None:
            with self._working():
                act(*arguments)

        helper = threading.Thread(target=work, name="helper", daemon=True)
        try:
            helper.start()
        except RuntimeError:
            work()
        else:
            self._helpers = [*(other for other in self._helpers if other.is_alive()), helper]

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Tell the parent that the child is alive for as long as anybody here works."""
        with self._lock:
            self._at_work += 1
            self._channel.beat(True)
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                self._channel.beat(self._at_work > 0)

    def _make(self, backend: Backend, order: RunJob) -> None:
        folder = Path(order.folder)
        run = Handover(backend, order, self._channel.send, lambda: order.job in self._cancelled)
        self._runs[order.job] = run
        self._channel.send(Started(order.job))
        try:
            result = execute(backend, request_from_json(order.request), folder, run)
            self._channel.send(Result(order.job, result))
        except Cancelled:
            self._channel.send(CancelledJob(order.job, run.over))
        except (Exception, SystemExit) as error:
            failure = as_failure(error, backend.name, folder)
            print(failure, failure.detail, sep="\n", file=sys.stderr, flush=True)
            if run.sent and not isinstance(error, EspalierError):
                # The engine did not live to tell what the server said.
                said = f"{failure}\n{failure.detail}"
                failure = EspalierError("job_contact_lost", said, engine=backend.name, name=order.request.get("name"))
            self._channel.send(Failed(order.job, failure.to_json(), run.over))
        finally:
            self._runs.pop(order.job, None)

    def _answer(self, backend: Backend, order: Ask) -> None:
        try:
            if not hasattr(backend, "ask"):
                raise EspalierError("question_unanswered", engine=backend.name, question=order.question)
            answering = cast("Answering", backend)
            answer = answering.ask(order.question, order.account, lambda: self._ending, order.about)
            self._channel.send(Answer(order.id, answer))
        except Cancelled:
            error = EspalierError("question_unanswered", engine=backend.name, question=order.question)
            self._channel.send(Answer(order.id, error=error.to_json()))
        except Exception as error:
            failure = as_failure(error, backend.name, Path())
            print(failure, failure.detail, sep="\n", file=sys.stderr, flush=True)
            self._channel.send(Answer(order.id, error=failure.to_json()))


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
