# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier jobs tell: how long one like this takes, and what they have cost."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..parameters import BY_NAME
from ..request import Request
from .job import Job, State

RECENT = 15
"""Jobs that are looked at: servers change, and so do prices."""

TIMED = 1000
"""Assets of earlier times whose times are looked at as the queue is opened."""
MATTER = (
    *("resolution", "texture_size", "decimation_target", "remesh", "preprocess_image"),
    *("ss_sampling_steps", "shape_slat_sampling_steps", "tex_slat_sampling_steps"),
)
"""The settings that decide how long a job takes, as far as its engine honours them."""

_DONE = (State.READY, State.IMPORTED)


@dataclass(frozen=True, slots=True)
class Spent:
    """What is known to have been billed, in USD: since this queue was opened, and by all Blenders ever."""

    session: float = 0.0
    all: float = 0.0


def expected_s(jobs: Iterable[Job], request: Request) -> dict[str, float]:
    """Return how many seconds each stage took in the last jobs of the engine and the resolution of `request`.

    The medians of those that one worker made in one go: others have waited while Blender was closed.
    """
    resolution = request.parameters.get("resolution")
    alike = (
        job
        for job in jobs
        if job.state in _DONE
        and job.runs == 1
        and job.request.engine == request.engine
        and job.request.parameters.get("resolution") == resolution
    )
    newest = sorted(alike, key=lambda job: job.created, reverse=True)[:RECENT]
    times: dict[str, list[float]] = {}
    for job in newest:
        stages = job.result.get("stages")
        for stage, seconds in stages.items() if isinstance(stages, Mapping) else ():
            times.setdefault(str(stage), []).append(_number(seconds))
    return {stage: statistics.median(known) for stage, known in times.items()}


@dataclass(frozen=True, slots=True)
class Took:
    """How many seconds `jobs` jobs took, in the middle; `alike` if all settings that matter were the same."""

    seconds: float
    jobs: int
    alike: bool


class Timings:
    """How long finished jobs took from their first stage to their last, by engine and the settings that matter.

    A job counts once, and only where one worker made it in one go and repeated nothing of an earlier one.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], deque[tuple[str, float]]] = {}

    @classmethod
    def of(cls, newest_first: Iterable[Job]) -> Timings:
        """Return the times of some jobs."""
        timings = cls()
        for job in reversed(list(newest_first)):
            timings.add(job)
        return timings

    def add(self, job: Job) -> None:
        """Count a job if it is finished and was not counted before."""
        if job.state not in _DONE or job.runs != 1:
            return
        stages, facts = job.result.get("stages"), job.result.get("facts")
        if isinstance(facts, Mapping) and (facts.get("stages_kept") or facts.get("stages_repeated")):
            return
        seconds = sum(map(_number, stages.values())) if isinstance(stages, Mapping) else 0.0
        for kind in _kinds(job.request) if seconds > 0.0 else ():
            known = self._known.setdefault(kind, deque(maxlen=RECENT))
            if all(name != job.id for name, _ in known):
                known.append((job.id, seconds))

    def precede(self, earlier: Timings) -> None:
        """Count what `earlier` knows as older than all that was added here."""
        for kind, known in earlier._known.items():
            newer = self._known.get(kind, ())
            ours = {name for name, _ in newer}
            self._known[kind] = deque((*(each for each in known if each[0] not in ours), *newer), maxlen=RECENT)

    def took(self, request: Request) -> Took | None:
        """Return how long jobs like `request` took: those with the same settings, else those of its resolution."""
        for kind, alike in zip(_kinds(request), (True, False), strict=True):
            if known := self._known.get(kind):
                return Took(statistics.median(seconds for _, seconds in known), len(known), alike)
        return None


def _kinds(request: Request) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """Return what a request has in common with those that take as long, and with those that take about as long."""
    settings = (request.parameters.get(name) for name in MATTER if BY_NAME[name].honoured_by(request.engine))
    return (request.engine, *map(str, settings)), (request.engine, str(request.parameters.get("resolution")))


def cost_usd(result: Mapping[str, Any]) -> float:
    """Return what the job of `result` (its result.json) has cost, 0 where it does not tell a sensible sum."""
    facts = result.get("facts")
    return _number(facts.get("cost_usd")) if isinstance(facts, Mapping) else 0.0


def _number(value: object) -> float:
    """Return `value` if it is a finite number above 0, else 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    return float(value) if math.isfinite(value) and value > 0 else 0.0
