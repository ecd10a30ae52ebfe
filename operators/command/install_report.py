# SPDX-License-Identifier: GPL-3.0-or-later
"""What `install` says while it works: for a person on a terminal, in a log, or for a program as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from ...engine.errors import EspalierError
from ..environment_rows import condition_words, progress_text, sentences
from ..environments import BY_PROFILE
from .base_report import BaseReport

if TYPE_CHECKING:
    from ...engine.environments.licences import Licence
    from ...engine.environments.status import Status
    from ...engine.environments.task import Task

BAR = 24
STEPS = 10
"""Lines that a log gets of one stage at most, after the first."""
COLUMNS = 100


class InstallReport(BaseReport):
    """Tells how the work on environments goes."""

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        super().__init__(stream, as_json)
        self._last: tuple[str, int] = ("", 0)

    def stands(self, profile: str, status: Status) -> None:
        """How an environment stands."""
        why = None if status.why is None else {"code": status.why.code, "text": str(status.why)}
        self._event(
            "environment",
            profile=profile,
            condition=str(status.condition),
            why=why,
            download_bytes=status.download_bytes,
            disk_bytes=status.disk_bytes,
            python=None if status.python is None else str(status.python),
            unlocked=list(status.unlocked),
        )
        self._print(f"{profile}: {BY_PROFILE[profile].label}: {condition_words(status)[0]}")
        for sentence in sentences(status):
            self._print(f"  {sentence}")

    def licence(self, licence: Licence) -> None:
        """A license that has not been accepted yet."""
        self._event("license", name=licence.name, title=licence.title, covers=licence.covers, url=licence.url)
        text = textwrap.fill(licence.text, COLUMNS, initial_indent="  ", subsequent_indent="  ")
        self._print(f"License {licence.name}: {licence.title}, for {licence.covers}\n{text}\n  {licence.url}")

    def ask(self, question: str) -> None:
        """Write a question, whose answer is typed behind it."""
        self._stream.write(question)
        self._stream.flush()

    def progress(self, profile: str, task: Task) -> None:
        """The work has moved on: on a terminal a bar, else a line a stage and every tenth of it."""
        words = progress_text(task)
        if self.live:
            filled = round(BAR * task.fraction)
            self._draw(f"{profile}: [{'#' * filled}{'.' * (BAR - filled)}] {task.fraction:4.0%}  {words}")
            return
        part = int(STEPS * task.done_bytes / task.total_bytes) if task.total_bytes else 0
        if not task.stage or (task.stage, part) == self._last:
            return
        self._last = task.stage, part
        done = {"done_bytes": task.done_bytes, "total_bytes": task.total_bytes}
        self._event("progress", profile=profile, stage=task.stage, fraction=round(task.fraction, 4), **done)
        self._print(f"{profile}: {words}")

    def ended(self, profile: str, act: str, told: Sequence[str]) -> None:
        """It came out."""
        self._clear()
        self._event("done", profile=profile, act=act, told=list(told))
        for sentence in told:
            self._print(f"{profile}: {sentence}")

    def failed(self, profile: str, error: EspalierError) -> None:
        """It did not come out."""
        self._complain("failed", profile, error, profile=profile)
