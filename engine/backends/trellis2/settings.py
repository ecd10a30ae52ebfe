# SPDX-License-Identifier: GPL-3.0-or-later
"""What the CUDA engine is told beside the request: where things lie and what the person has agreed to.

A worker learns it from its environment, which whoever launches it fills with `to_environment`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CACHE_GB = 20.0
"""Most that finished stages take on the disk, where nothing else is said."""
EXPORT_S = 900.0
"""Seconds after which the compiled exporter is given up for our own."""
NVDIFFRAST = "nvdiffrast"
"""The licence that must be accepted before nvdiffrast is used: research and evaluation only."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`weights` and `cache` are folders. `device` is "" for the best there is; `plan` "" for the one that fits.

    `licences` are the names of those accepted. `fast` reuses velocities between steps, an approximation.
    """

    weights: Path | None = None
    cache: Path | None = None
    cache_gb: float = CACHE_GB
    licences: frozenset[str] = frozenset()
    fast: bool = False
    device: str = ""
    plan: str = ""
    export_s: float = EXPORT_S

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] | None = None) -> Settings:
        """Return the settings that `variables` (of this process, if None) hold; what cannot be read is as usual."""
        found = os.environ if variables is None else variables
        weights, cache = found.get("ESPALIER_WEIGHTS", ""), found.get("ESPALIER_STAGES", "")
        return cls(
            weights=Path(weights) if weights else None,
            cache=Path(cache) if cache else None,
            cache_gb=_number(found.get("ESPALIER_STAGES_GB", ""), CACHE_GB),
            licences=frozenset(name for name in found.get("ESPALIER_LICENCES", "").split(",") if name),
            fast=found.get("ESPALIER_FAST", "") == "1",
            device=found.get("ESPALIER_DEVICE", ""),
            plan=found.get("ESPALIER_PLAN", ""),
            export_s=_number(found.get("ESPALIER_EXPORT_S", ""), EXPORT_S),
        )

    def to_environment(self) -> dict[str, str]:
        """Return the variables from which `from_environment` makes the same settings."""
        return {
            "ESPALIER_WEIGHTS": str(self.weights or ""),
            "ESPALIER_STAGES": str(self.cache or ""),
            "ESPALIER_STAGES_GB": repr(self.cache_gb),
            "ESPALIER_LICENCES": ",".join(sorted(self.licences)),
            "ESPALIER_FAST": "1" if self.fast else "",
            "ESPALIER_DEVICE": self.device,
            "ESPALIER_PLAN": self.plan,
            "ESPALIER_EXPORT_S": repr(self.export_s),
        }


def _number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if 0.0 <= value < float("inf") else default
