# SPDX-License-Identifier: GPL-3.0-or-later
"""What the CUDA engine is told beside the request: where things lie and what the person has agreed to.

A worker learns it from its environment, which whoever launches it fills with `to_environment`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS, STAGES, STAGES_GB = "ESPALIER_WEIGHTS", "ESPALIER_STAGES", "ESPALIER_STAGES_GB"
FAST, PLAN, BACKGROUND = "ESPALIER_FAST", "ESPALIER_PLAN", "ESPALIER_BACKGROUND_MODEL"
"""Environment variables that a person may set, too."""
CACHE_GB = 20.0
"""Most that finished stages take on the disk, where nothing else is said."""
EXPORT_S = 900.0
"""Seconds after which the compiled exporter is given up for our own."""
BACKGROUND_MODEL = "birefnet-general"
"""What removes backgrounds where nothing else is said: the best, for which a graphics card is fast enough."""
NVDIFFRAST = "nvdiffrast"
"""The licence that must be accepted before nvdiffrast is used: research and evaluation only."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`weights` and `cache` are folders. `device` is "" for the best there is; `plan` "" for the one that fits.

    `licences` are the names of those accepted. `fast` reuses velocities between steps, an approximation. `background`
    is the model that removes backgrounds.
    """

    weights: Path | None = None
    cache: Path | None = None
    cache_gb: float = CACHE_GB
    licences: frozenset[str] = frozenset()
    fast: bool = False
    device: str = ""
    plan: str = ""
    export_s: float = EXPORT_S
    background: str = BACKGROUND_MODEL

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] | None = None, usual: Settings | None = None) -> Settings:
        """Return the settings that `variables` (of this process, if None) hold.

        What is not among them, or cannot be read, is as `usual` has it.
        """
        found = os.environ if variables is None else variables
        rest = usual or cls()
        weights, cache = found.get(WEIGHTS, ""), found.get(STAGES, "")
        licences = frozenset(name for name in found.get("ESPALIER_LICENCES", "").split(",") if name)
        fast = found.get(FAST, "")
        return cls(
            weights=Path(weights) if weights else rest.weights,
            cache=Path(cache) if cache else rest.cache,
            cache_gb=_number(found.get(STAGES_GB, ""), rest.cache_gb),
            licences=licences or rest.licences,
            fast=fast == "1" if fast else rest.fast,
            device=found.get("ESPALIER_DEVICE", "") or rest.device,
            plan=found.get(PLAN, "") or rest.plan,
            export_s=_number(found.get("ESPALIER_EXPORT_S", ""), rest.export_s),
            background=found.get(BACKGROUND, "") or rest.background,
        )

    def unusual(self) -> dict[str, Any]:
        """Return what makes another asset of the same request, by field, where it is not as usual."""
        usual = Settings()
        names = ("fast", "background")
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(usual, name)}

    def to_environment(self) -> dict[str, str]:
        """Return the variables from which `from_environment` makes the same settings."""
        return {
            WEIGHTS: str(self.weights or ""),
            STAGES: str(self.cache or ""),
            STAGES_GB: repr(self.cache_gb),
            "ESPALIER_LICENCES": ",".join(sorted(self.licences)),
            FAST: "1" if self.fast else "0",
            "ESPALIER_DEVICE": self.device,
            PLAN: self.plan,
            "ESPALIER_EXPORT_S": repr(self.export_s),
            BACKGROUND: self.background,
        }


def _number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 0.0 <= value < float("inf") else default
