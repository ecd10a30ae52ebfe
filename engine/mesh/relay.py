# SPDX-License-Identifier: GPL-3.0-or-later
"""Long array work on a thread of its own: a cancelled job ends at once, and what is needed later begins early."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..progress import Run

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


class Ahead(Generic[T]):
    """Work that began on a thread of its own, for whoever needs its result later.

    As a context, it is told to stop when the context is left.
    """

    def __init__(self, work: Callable[[Run], T]) -> None:
        self._relay, self._outcome = _Relay(), _Outcome[T]()

        def body() -> None:
            try:
                self._outcome.value = work(self._relay)
            except BaseException as error:
                self._outcome.error = error

        self._thread = threading.Thread(target=body, name="ahead", daemon=True)
        self._thread.start()

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._relay.left.set()

    def result(self, run: Run | None) -> T:
        """Wait and return what the work returns, reporting its progress to `run` from this thread.

        Raises what the work raises; Cancelled within a tenth of a second, while the thread, whose result nobody awaits,
        ends at its own next cancel point.
        """
        with self:
            while self._thread.is_alive():
                if run is not None and self._relay.fraction > 0:
                    run.progress(self._relay.fraction)
                elif run is not None:
                    run.check()
                self._thread.join(POLL_S)
        if self._outcome.error is not None:
            raise self._outcome.error
        return self._outcome.value


def relayed(work: Callable[[Run], T], run: Run | None) -> T:
    """Return what `work` returns, done on a thread of its own where there is a `run` to listen to. See `Ahead`."""
    return work(_Relay()) if run is None else Ahead(work).result(run)
