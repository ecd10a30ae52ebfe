# SPDX-License-Identifier: GPL-3.0-or-later
"""How long work tells where it is and learns that nobody wants it any more: named stages, progress, cancel points."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

REPORT_INTERVAL_S = 0.05
"""Progress is passed on at most this often, so that a tight loop may report at every turn."""


class Cancelled(Exception):
    """The person no longer wants the result; raised at the next cancel point."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of an engine. `weight` is its share of the whole time, in any unit."""

    name: str
    label: str
    weight: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: the stage, the fraction of the whole (0 to 1), and a note for the person."""

    stage: str
    label: str
    fraction: float
    note: str = ""


class Run:
    """One job as its backend sees it: reports progress, raises at cancel points, keeps the time of each stage.

    `report` receives each `Progress`; `cancelled` tells whether the job is to stop, and is cheap to call.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stages = tuple(stages)
        self._total = sum(stage.weight for stage in stages)
        self._report = report
        self._cancelled = cancelled
        self._current: Stage | None = None
        self._reported = -1.0
        self.timings: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Enter the stage called `name`; its seconds are in `timings` when it is left."""
        self.check()
        self._current = next(stage for stage in self._stages if stage.name == name)
        self._reported = -1.0
        self.progress(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start

    def progress(self, fraction: float, note: str = "") -> None:
        """Report how much of the current stage is done (0 to 1). Raises Cancelled; call it often."""
        self.check()
        now = time.monotonic()
        if self._current is None or (self._reported >= 0 and now - self._reported < REPORT_INTERVAL_S):
            return
        self._reported = now
        before = 0.0
        for stage in self._stages:
            if stage.name == self._current.name:
                break
            before += stage.weight
        done = before + self._current.weight * min(max(fraction, 0.0), 1.0)
        self._report(Progress(self._current.name, self._current.label, done / self._total, note))

    def check(self) -> None:
        """Raise Cancelled if the person no longer wants the result."""
        if self._cancelled():
            raise Cancelled
