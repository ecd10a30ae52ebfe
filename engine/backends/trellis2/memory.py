# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory plans: which models stay on the GPU, by how much of its memory is free, and how long it will take."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .checkpoint import Checkpoint, stage_models
from .device import GIB
from .plans import ON_HOST, PLANS, Plan

__all__ = ["ON_HOST", "PLANS", "Plan", "Times", "choose", "need_gib", "told"]

FEATURES_GIB = 1.3
"""The image features' model in float32."""


WORK_GIB: Final[Mapping[str, float]] = {"512": 4.0, "1024_cascade": 8.0, "1536_cascade": 18.0}
"""What a pipeline needs beside its weights, from reports of 10 to 11 GB in all at 1024 and 24 GB at 1536."""
_LEAN_SHARE = 0.5
_SECONDS: Final[Mapping[str, float]] = {"512": 3.0, "1024_cascade": 17.0, "1536_cascade": 60.0}
"""Published for an H100 with everything resident."""
_SLOWER: Final[Mapping[str, float]] = {"resident": 1.0, "staged": 2.0, "lean": 7.0}
_KEPT_TIMES = 64


def need_gib(plan: Plan, checkpoint: Checkpoint, pipeline_type: str) -> float:
    """Return about how much free memory `plan` wants for `pipeline_type`, in GiB."""
    stages = stage_models(pipeline_type)
    work = WORK_GIB[pipeline_type]
    if plan.stay:
        every = tuple(sorted({name for names in stages.values() for name in names}))
        return checkpoint.bytes_of(every) / GIB + FEATURES_GIB + work
    # Of a cascade's models one runs at a time; the decoder is moved in between.
    largest = max(checkpoint.bytes_of((name,)) for names in stages.values() for name in names)
    return largest / GIB + work * (_LEAN_SHARE if plan.chunked else 1.0)


def choose(free: int, checkpoint: Checkpoint, pipeline_type: str, wanted: str = "") -> tuple[Plan, ...]:
    """Return the plan for `free` bytes, and after it those to fall back to; `wanted` names the first one."""
    names = [plan.name for plan in PLANS]
    if wanted in names:
        return PLANS[names.index(wanted) :]
    for index, plan in enumerate(PLANS):
        if need_gib(plan, checkpoint, pipeline_type) * GIB <= free:
            return PLANS[index:]
    return PLANS[-1:]


class Times:
    """How long jobs took on this machine, by GPU, pipeline and plan, in a small file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def estimate(self, gpu: str, pipeline_type: str, plan: Plan) -> float | None:
        """Return about how many seconds a job will take: as long as the last one, else by published figures."""
        known = self._read().get(f"{gpu}/{pipeline_type}/{plan.name}")
        if isinstance(known, (int, float)):
            return float(known)
        slower = _SLOWER.get(plan.name)
        return None if slower is None else _SECONDS[pipeline_type] * slower

    def note(self, gpu: str, pipeline_type: str, plan: Plan, seconds: float) -> None:
        """Remember a whole job that repeated nothing; that it cannot be written is no harm."""
        if self._path is None:
            return
        known = self._read()
        known.pop(key := f"{gpu}/{pipeline_type}/{plan.name}", None)
        known[key] = round(seconds, 1)
        text = json.dumps(dict(list(known.items())[-_KEPT_TIMES:]))
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(text, "utf-8")
            os.replace(partial, self._path)
        except OSError:
            pass

    def _read(self) -> dict[str, object]:
        try:
            data = json.loads(self._path.read_text("utf-8")) if self._path is not None else {}
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}


def told(plan: Plan, seconds: float | None) -> str:
    """Return the plan and the estimate as a person reads them."""
    if seconds is None:
        return plan.words
    about = f"{round(seconds)} seconds" if seconds < 90 else f"{round(seconds / 60)} minutes"
    return f"{plan.words} About {about}."
