# SPDX-License-Identifier: GPL-3.0-or-later
"""Running long array work on a thread of its own, so that a cancelled job ends at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..progress import Cancelled, Run

T = TypeVar("T")
POLL_S = 0.1


class _Relay(Run):
    """What the thread sees of the job: it keeps the progress for the caller, and stops when the caller has left."""

    def __init__(self) -> None:
        self.left = threading.Event()
        self.fraction = 0.0
        super().__init__((), lambda progress: None, self.left.is_set)

    def progress(self, fraction: float, note: str = "") -> None:
        self.check()
        self.fraction = fraction


class _Outcome(Generic[T]):
    value: T
    error: BaseException | None = None


def relayed(work: Callable[[Run], T], run: Run | None) -> T:
    """Return what `work` returns, reporting its progress to `run` from this thread.

    Raises what `work` raises; Cancelled within a tenth of a second, while the thread, whose result nobody awaits, ends
    at its own next cancel point.
    """
    relay, outcome = _Relay(), _Outcome[T]()
    if run is None:
        return work(relay)

    def body() -> None:
        try:
            outcome.value = work(relay)
        except BaseException as error:
            outcome.error = error

    thread = threading.Thread(target=body, name="relayed", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            run.progress(relay.fraction)
            thread.join(POLL_S)
    except Cancelled:
        relay.left.set()
        raise
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
