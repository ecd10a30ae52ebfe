# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done with an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Act = Literal["install", "verify", "repair", "remove"]
ACTS: tuple[Act, ...] = get_args(Act)


@dataclass(frozen=True)
class Order:
    """Do `act` with the environment of `profile` (or the weights). `accepted` are licenses that the person accepts."""

    act: Act
    profile: str
    accepted: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return `{act, profile, accepted}`, from which `from_json` makes the same order."""
        return {"act": self.act, "profile": self.profile, "accepted": list(self.accepted)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        """Return the order that `to_json` described. Raises ValueError for an unknown act."""
        act = next((known for known in ACTS if known == data["act"]), None)
        if act is None:
            raise ValueError(f"there is no act {data['act']!r}")
        return cls(act, str(data["profile"]), tuple(str(name) for name in data["accepted"]))
