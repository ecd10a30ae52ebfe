# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line says while it works: for a person on a terminal, in a log, or for a program as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ...engine.errors import EspalierError
from ...engine.jobs.job import Job
from ...engine.parameters import ENGINES
from ...engine.request import asset_name, is_url
from ..pricing import dollars
from .base_report import BaseReport


@contextmanager
def private_stdout() -> Iterator[TextIO]:
    """Keep standard output for the command: what Blender itself prints there while it renders goes nowhere."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        with open(kept, "w", encoding="utf-8", closefd=False) as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


class Report(BaseReport):
    """Tells how jobs come along."""

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        super().__init__(stream, as_json)
        self._stages: dict[str, str] = {}

    def price(self, count: int, total_usd: float | None) -> None:
        """What is about to be spent on `count` assets; None where nobody has told."""
        self._event("price", assets=count, usd=None if total_usd is None else round(total_usd, 4))
        what = "an amount that the server does not tell" if total_usd is None else dollars(total_usd)
        self._print(f"{count:,} {'asset costs' if count == 1 else 'assets cost'} {what}")

    def notices(self, name: str, sentences: Sequence[str]) -> None:
        """What is made differs from what was asked for."""
        for sentence in sentences:
            self._event("notice", name=name, text=sentence)
            self._print(f"{name}: {sentence}")

    def submitted(self, job: Job) -> None:
        """A job has been handed to the queue."""
        request = job.request
        self._event("submitted", job=job.id, engine=request.engine, **{request.role: request.origin})

    def progress(self, job: Job) -> None:
        """A job has moved on: one line a stage, or on a terminal one line that changes."""
        if not job.label:
            return
        self._event("progress", job=job.id, stage=job.stage, fraction=round(job.fraction, 4))
        line = f"{job.request.name}: {job.label} ({job.fraction:.0%})"
        if self.live:
            self._draw(line)
        elif self._stages.get(job.id) != job.stage:
            self._print(line)
        self._stages[job.id] = job.stage

    def step(self, job: Job, name: str, text: str) -> None:
        """Something happens to a finished job here in Blender: placing, saving, rendering."""
        self._event("progress", job=job.id, stage=name, fraction=1.0)
        self._print(f"{job.request.name}: {text}")

    def done(self, job: Job, files: Mapping[str, Path], seconds: Mapping[str, float]) -> None:
        """A job's files are all in place. `seconds` are those of the steps in Blender."""
        self._event("ready", job=job.id, files={k: str(v) for k, v in files.items()}, result=dict(job.result))
        if self._json:
            return
        result = job.result
        label = next((e.label for e in ENGINES if e.name == job.request.engine), job.request.engine)
        rows = [("engine", f"{label} {result.get('engine_version', '')}".rstrip())]
        stages = {**result.get("stages", {}), **seconds}
        rows += [(name.replace("_", " "), f"{value:.2f} s") for name, value in stages.items()]
        rows.append(("total", f"{sum(stages.values()):.2f} s"))
        rows += [(name, f"{result[name]:,}") for name in ("vertices", "faces") if name in result]
        if size := result.get("texture_size"):
            rows.append(("texture", f"{size} x {size}"))
        if (cost := result.get("facts", {}).get("cost_usd")) is not None:
            rows.append(("cost", dollars(cost)))
        rows += [(name, f"{_short(path)} ({_size(path)})") for name, path in files.items()]
        width = max(len(name) for name, _ in rows)
        self._print(f"\n{job.request.name}\n" + "\n".join(f"  {name:<{width}}  {value}" for name, value in rows))
        for notice in result.get("notices", ()):
            self._print(f"  {notice}")

    def failed(self, origin: str, error: EspalierError, job: str = "") -> None:
        """What was to be made from the file `origin` did not come out."""
        name = asset_name(origin) if is_url(origin) else Path(origin).name
        self._complain("failed", name, error, job=job, image=origin)

    def total(self, ready: int, failed: int) -> None:
        """The command is at its end."""
        self._event("done", ready=ready, failed=failed)
        if ready + failed > 1:
            self._print(f"\n{ready} of {ready + failed} assets came out.")


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
