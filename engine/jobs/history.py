# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier jobs tell: how long one like this takes, and what they have cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..request import Request
from .job import Job, State

RECENT = 15
"""Jobs that are looked at: servers change, and so do prices."""

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


def cost_usd(result: Mapping[str, Any]) -> float:
    """Return what the job of `result` (its result.json) has cost, 0 where it does not tell a sensible sum."""
    facts = result.get("facts")
    return _number(facts.get("cost_usd")) if isinstance(facts, Mapping) else 0.0


def _number(value: object) -> float:
    """Return `value` if it is a finite number above 0, else 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    return float(value) if math.isfinite(value) and value > 0 else 0.0
