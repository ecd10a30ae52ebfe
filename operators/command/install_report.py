# SPDX-License-Identifier: GPL-3.0-or-later
"""What `install` says while it works: for a person on a terminal, in a log, or for a program as JSON."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ...engine.errors import EspalierError
from ..environment_rows import condition_words, progress_text, sentences
from ..environments import BY_PROFILE

if TYPE_CHECKING:
    from ...engine.environments.licences import Licence
    from ...engine.environments.status import Status
    from ...engine.environments.task import Task

BAR = 24
STEPS = 10
"""Lines that a log gets of one stage at most, after the first."""
COLUMNS = 100


class InstallReport:
    """Tells `stream` how the work on environments goes. `live`: it is a terminal, and lines may change."""

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self._stream = stream
        self._json = as_json
        self.live = not as_json and stream.isatty()
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
        if not self._json:
            self._print(f"{profile}: {BY_PROFILE[profile].label}: {condition_words(status)[0]}")
            for sentence in sentences(status):
                self._print(f"  {sentence}")

    def licence(self, licence: Licence) -> None:
        """A license that has not been accepted yet."""
        self._event("license", name=licence.name, title=licence.title, covers=licence.covers, url=licence.url)
        if not self._json:
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
            line = f"{profile}: [{'#' * filled}{'.' * (BAR - filled)}] {task.fraction:4.0%}  {words}"
            self._stream.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
            self._stream.flush()
            return
        part = int(STEPS * task.done_bytes / task.total_bytes) if task.total_bytes else 0
        if not task.stage or (task.stage, part) == self._last:
            return
        self._last = task.stage, part
        done = {"done_bytes": task.done_bytes, "total_bytes": task.total_bytes}
        self._event("progress", profile=profile, stage=task.stage, fraction=round(task.fraction, 4), **done)
        if not self._json:
            self._print(f"{profile}: {words}")

    def ended(self, profile: str, act: str, told: Sequence[str]) -> None:
        """It came out."""
        self._clear()
        self._event("done", profile=profile, act=act, told=list(told))
        if not self._json:
            for sentence in told:
                self._print(f"{profile}: {sentence}")

    def failed(self, profile: str, error: EspalierError) -> None:
        """It did not come out."""
        self._clear()
        fields = {"code": error.code, "cause": error.cause, "remedy": error.remedy, "detail": error.detail}
        self._event("failed", profile=profile, **fields)
        print(f"espalier: {profile}: {error}", file=sys.stderr)
        if error.code == "internal":
            print(error.detail, file=sys.stderr)

    def _event(self, event: str, **fields: Any) -> None:
        if self._json:
            self._print(json.dumps({"event": event, **fields}, ensure_ascii=False))

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _clear(self) -> None:
        if self.live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
