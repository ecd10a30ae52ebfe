# SPDX-License-Identifier: GPL-3.0-or-later
"""What `batch` says while it works: a bar on a terminal, a line an asset in a log, or JSON for a program."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from ...engine.batch.pace import Pace, duration
from ...engine.batch.records import Record
from ...engine.batch.rows import Fault, by_error
from ...engine.errors import EspalierError
from .report import Report

BAR = 24
DRAWN_EVERY_S = 0.2
"""How often the bar is drawn at most."""


class BatchReport(Report):
    """Tells the events of a batch to `stream`."""

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        super().__init__(stream, as_json)
        self._pace = Pace(time.monotonic())
        self._total = self._earlier = self._done = self._failed = 0
        self._drawn = 0.0
        self._word = ""

    def faults(self, path: str, faults: Sequence[Fault]) -> None:
        """What is wrong with a manifest, all at once: each fault with the lines that it is on."""
        for lines, fault in by_error(faults):
            error = fault.error
            self._event("invalid", lines=lines, code=error.code, cause=error.cause, remedy=error.remedy)
            word = "line" if lines.isdecimal() else "lines"
            print(f"espalier: {Path(path).name}, {word} {lines}: {error}", file=sys.stderr)

    def begin(self, total: int, earlier: int) -> None:
        """The batch begins: `total` images, of which `earlier` are done already."""
        self._pace = Pace(time.monotonic())
        self._total, self._earlier, self._done = total, earlier, earlier
        self._event("begin", images=total, done=earlier)
        known = f", {earlier:,} of them done already" if earlier else ""
        self._print(f"{total:,} {'image' if total == 1 else 'images'}{known}")

    def came_out(self, record: Record) -> None:
        """An asset is in its place."""
        self._done += 1
        self._pace.note(time.monotonic())
        self._event(
            "ready",
            row=record.row,
            image=record.image,
            job=record.job,
            seconds=record.seconds,
            faces=record.faces,
            usd=record.usd,
            files=record.files,
        )
        if not self.live:
            facts = [f"{record.faces:,} faces" if record.faces else "", f"{record.seconds or 0:.1f} s"]
            self._print(f"{self._counter()} {record.stem}: {', '.join(filter(None, facts))}")

    def went_wrong(self, record: Record, error: EspalierError) -> None:
        """A row has failed."""
        self._failed += 1
        self._pace.note(time.monotonic())
        line = f", line {record.line}" if record.line else ""
        about = f"{self._counter()} {record.name}{line}"
        self._complain("failed", about, error, row=record.row, image=record.image, job=record.job)

    def trouble(self, error: EspalierError) -> None:
        """Something went wrong that is of no row."""
        self._complain("trouble", "", error)

    def left_out(self, record: Record, error: EspalierError) -> None:
        """A row is not begun, and that is no failure of its own."""
        self._event("skipped", row=record.row, image=record.image, code=error.code, cause=error.cause)
        self._print(f"{record.name}: {error}")

    def library(self, path: Path, objects: int, seconds: float) -> None:
        """The one .blend of all assets is written."""
        self._event("library", path=str(path), objects=objects, seconds=round(seconds, 2))
        self._print(f"{path}: {objects:,} {'asset' if objects == 1 else 'assets'} marked")

    def stopping(self, text: str) -> None:
        """Nothing more is begun, or what runs is stopped too."""
        self._word = "stopping"
        self._event("stopping", text=text)
        self._print(text)

    def tick(self, running: int) -> None:
        """Time passes, with `running` jobs under way: on a terminal the bar is drawn anew if it is due."""
        now = time.monotonic()
        if not self.live or now - self._drawn < DRAWN_EVERY_S:
            return
        self._drawn = now
        ended = self._done + self._failed
        filled = int(BAR * ended / max(self._total, 1))
        parts = [f"[{'#' * filled}{'.' * (BAR - filled)}] {ended:,}/{self._total:,}"]
        rate = self._pace.rate()
        if rate is not None:
            parts.append(f"{rate:.1f}/s" if rate >= 0.95 else f"{60 * rate:.1f}/min")
        left = self._pace.remaining_s(self._total - ended, now)
        if left is not None and not self._word:
            parts.append(f"{duration(left)} left")
        parts.append(f"{self._failed:,} failed" if self._failed else "none failed")
        parts.append(self._word or f"{running} running")
        self._draw("  ".join(parts))

    def ended(self, skipped: int, usd: float | None, page: Path) -> None:
        """The batch is at its end, and `page` the contact sheet."""
        self._event("done", ready=self._done, failed=self._failed, skipped=skipped, usd=usd, report=str(page))
        counts = [f"{self._done:,} of {self._total:,} assets are there"]
        if self._failed:
            counts.append(f"{self._failed:,} failed")
        if skipped:
            counts.append(f"{skipped:,} not begun (go on with --resume)")
        if usd:
            counts.append(f"{usd:.3f} USD billed")
        self._print(f"{', '.join(counts)}\nReport: {page}")

    def _counter(self) -> str:
        width = len(str(self._total))
        return f"[{self._done + self._failed:>{width}}/{self._total}]"
