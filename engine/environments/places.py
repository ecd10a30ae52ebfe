# SPDX-License-Identifier: GPL-3.0-or-later
"""Where environments, downloads, tools and weights lie: everything below one folder, and nothing elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).parent / "locks"


@dataclass(frozen=True)
class Places:
    """`root` holds all that is made here; `bundled` are folders with wheels that came with the extension.

    `locks` holds the lists of packages.
    """

    root: Path
    bundled: tuple[Path, ...] = ()
    locks: Path = LOCKS

    def environment(self, profile: str) -> Path:
        """Return the folder of the environment of `profile`."""
        return self.root / profile

    @property
    def downloads(self) -> Path:
        """Return the folder that keeps what was downloaded, by hash."""
        return self.root / "downloads"

    @property
    def tools(self) -> Path:
        """Return the folder of the program that builds environments."""
        return self.root / "tools"

    @property
    def log(self) -> Path:
        """Return the log of all that is done here."""
        return self.root / "environments.log"

    def to_json(self) -> dict[str, Any]:
        """Return `{root, bundled, locks}`, from which `from_json` makes the same places."""
        return {"root": str(self.root), "bundled": [str(folder) for folder in self.bundled], "locks": str(self.locks)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Places:
        """Return the places that `to_json` described."""
        return cls(Path(data["root"]), tuple(Path(folder) for folder in data["bundled"]), Path(data["locks"]))
