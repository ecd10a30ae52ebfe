# SPDX-License-Identifier: GPL-3.0-or-later
"""The child's side of the work on an environment: takes one order, tells how far it is, and ends with its parent."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from queue import SimpleQueue

from ..errors import EspalierError
from ..files import unwritable
from ..progress import REPORT_INTERVAL_S, Cancelled
from ..workers import tether
from ..workers.channel import Channel
from ..workers.messages import CancelJob, CancelledJob, Failed, MessageError, Moved, Result, RunJob
from .main import run
from .order import Order
from .places import Places
from .sources import Sources


class Teller:
    """Passes progress on to the parent, not too often, and knows whether the work is still wanted."""

    def __init__(self, channel: Channel, job: str, cancelled: threading.Event) -> None:
        self._channel, self._job, self._cancelled = channel, job, cancelled
        self._stage, self._told = "", 0.0

    def report(self, stage: str, done: int, total: int) -> None:
        """Tell that `done` of `total` bytes are dealt with. Raises Cancelled."""
        self.check()
        now = time.monotonic()
        if stage != self._stage or done >= total or now - self._told >= REPORT_INTERVAL_S:
            self._stage, self._told = stage, now
            self._channel.send(Moved(self._job, stage, done, total))

    def check(self) -> None:
        """Raise Cancelled where the work is no longer wanted."""
        if self._cancelled.is_set():
            raise Cancelled


def main() -> None:
    """Run the child, whose second argument is its parent's process number (see `workers.launch`)."""
    channel = Channel()
    tether.tie(int(sys.argv[2]))
    orders: SimpleQueue[RunJob] = SimpleQueue()
    cancelled = threading.Event()
    threading.Thread(target=_listen, args=(channel, orders, cancelled), name="orders", daemon=True).start()
    order = orders.get()
    sources = Sources.from_json(order.account)
    teller = Teller(channel, order.job, cancelled)
    try:
        words = run(
            Order.from_json(order.request["order"]),
            Places.from_json(order.request["places"]),
            sources,
            teller.report,
            teller.check,
        )
        channel.send(Result(order.job, {"words": words}))
    except Cancelled:
        channel.send(CancelledJob(order.job))
    except Exception as error:
        failure = _failure(error, sources)
        print(failure, failure.detail, sep="\n", file=sys.stderr, flush=True)
        channel.send(Failed(order.job, failure.to_json()))
    # Threads that still wait for a server must not keep the process.
    sys.stderr.flush()
    os._exit(0)


def _listen(channel: Channel, orders: SimpleQueue[RunJob], cancelled: threading.Event) -> None:
    try:
        for order in channel.orders():
            if isinstance(order, RunJob):
                orders.put(order)
            elif isinstance(order, CancelJob):
                cancelled.set()
    except (MessageError, OSError):
        traceback.print_exc()
    tether.end()


def _failure(error: Exception, sources: Sources) -> EspalierError:
    """Return what a person is told of `error`, without any secret."""
    trace = sources.scrub("".join(traceback.format_exception(error)))
    if isinstance(error, EspalierError):
        return EspalierError(error.code, sources.scrub(error.detail) or trace, **error.fields)
    if isinstance(error, OSError) and error.filename:
        told = unwritable(error.filename, error)
        return EspalierError(told.code, trace, **told.fields)
    if isinstance(error, MemoryError):
        return EspalierError("memory_full", trace, engine="installer")
    return EspalierError("internal", trace, reason=sources.scrub(f"{type(error).__name__}: {error}"), log="")
