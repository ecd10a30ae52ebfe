# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a memory plan wants and how long it takes, by published figures: without PyTorch, for Blender too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from .checkpoint import stage_models
from .plans import PLANS, Plan

GIB = 1 << 30
FEATURES_GIB = 1.3
"""The image features' model in float32."""
WORK_GIB: Final[Mapping[str, float]] = {"512": 4.0, "1024_cascade": 8.0, "1536_cascade": 18.0}
"""What a pipeline needs beside its weights, from reports of 10 to 11 GB in all at 1024 and 24 GB at 1536."""
_LEAN_SHARE = 0.5
_SECONDS: Final[Mapping[str, float]] = {"512": 3.0, "1024_cascade": 17.0, "1536_cascade": 60.0}
"""Published for an H100 with everything resident."""
_SLOWER: Final[Mapping[str, float]] = {"resident": 1.0, "staged": 2.0, "lean": 7.0}
_FLOW_BYTES, _DECODER_BYTES, _STRUCTURE_BYTES = 2_580_000_000, 950_000_000, 150_000_000


class Sized(Protocol):
    """What knows how large the weights of models are."""

    def bytes_of(self, names: tuple[str, ...]) -> int:
        """Return how many bytes the weights of some models take."""
        ...


class Published:
    """The sizes of the published weights, for where they need not be on the disk, or nobody wants to look there."""

    def bytes_of(self, names: tuple[str, ...]) -> int:
        """Return how many bytes the weights of some models take."""
        return sum(self._bytes(name) for name in names)

    @staticmethod
    def _bytes(name: str) -> int:
        if "flow" in name:
            return _FLOW_BYTES
        return _STRUCTURE_BYTES if name.startswith("sparse_structure") else _DECODER_BYTES


def need_gib(plan: Plan, weights: Sized, pipeline_type: str) -> float:
    """Return about how much free memory `plan` wants for `pipeline_type`, in GiB."""
    stages = stage_models(pipeline_type)
    work = WORK_GIB[pipeline_type]
    if plan.stay:
        every = tuple(sorted({name for names in stages.values() for name in names}))
        return weights.bytes_of(every) / GIB + FEATURES_GIB + work
    # Of a cascade's models one runs at a time; the decoder is moved in between.
    largest = max(weights.bytes_of((name,)) for names in stages.values() for name in names)
    return largest / GIB + work * (_LEAN_SHARE if plan.chunked else 1.0)


def choose(free: int, weights: Sized, pipeline_type: str, wanted: str = "") -> tuple[Plan, ...]:
    """Return the plan for `free` bytes, and after it those to fall back to; `wanted` names the first one."""
    names = [plan.name for plan in PLANS]
    if wanted in names:
        return PLANS[names.index(wanted) :]
    for index, plan in enumerate(PLANS):
        if need_gib(plan, weights, pipeline_type) * GIB <= free:
            return PLANS[index:]
    return PLANS[-1:]


def published_s(pipeline_type: str, plan: Plan) -> float | None:
    """Return about how many seconds `pipeline_type` takes on an H100, by published figures; None if there are none."""
    slower = _SLOWER.get(plan.name)
    return None if slower is None else _SECONDS[pipeline_type] * slower
