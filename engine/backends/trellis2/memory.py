# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory plans: which models stay on the GPU, by how much of its memory is free, and how long it will take."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .needs import choose, need_gib, published_s
from .plans import ON_HOST, PLANS, Plan

__all__ = ["ON_HOST", "PLANS", "Plan", "Times", "choose", "need_gib", "told"]

_KEPT_TIMES = 64


class Times:
    """How long jobs took on this machine, by GPU, pipeline and plan, in a small file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def estimate(self, gpu: str, pipeline_type: str, plan: Plan) -> float | None:
        """Return about how many seconds a job will take: as long as the last one, else by published figures."""
        known = self._read().get(f"{gpu}/{pipeline_type}/{plan.name}")
        if isinstance(known, (int, float)):
            return float(known)
        return published_s(pipeline_type, plan)

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
    about = f"About {round(seconds)} seconds." if seconds < 90 else f"About {round(seconds / 60)} minutes."
    return f"{plan.words} {about}"
