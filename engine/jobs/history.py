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


def expected_s(jobs: Iterable[Job], request: Request) -> float:
    """Return how many seconds the last jobs of the engine and the resolution of `request` took; 0 if none is known.

    The median of the sums of their stages, of those that one worker made in one go: what was waited for a slot, or
    while Blender was closed, is no part of it.
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
    times = [seconds for job in newest if (seconds := _work_s(job.result)) > 0.0]
    return statistics.median(times) if times else 0.0


def cost_usd(result: Mapping[str, Any]) -> float:
    """Return what the job of `result` (its result.json) has cost, 0 where it does not tell a sensible sum."""
    facts = result.get("facts")
    return _number(facts.get("cost_usd")) if isinstance(facts, Mapping) else 0.0


def _work_s(result: Mapping[str, Any]) -> float:
    stages = result.get("stages")
    return sum(_number(seconds) for seconds in stages.values()) if isinstance(stages, Mapping) else 0.0


def _number(value: object) -> float:
    """Return `value` if it is a finite number above 0, else 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    return float(value) if math.isfinite(value) and value > 0 else 0.0
