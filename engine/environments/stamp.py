# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed in an environment, as a file inside it tells."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import EspalierError
from ..files import replacing
from .lock import Lock

NAME = "espalier.json"


@dataclass(frozen=True)
class Installed:
    """A package that is installed: its version, the hash of its wheel, and that of the list of its files (RECORD)."""

    version: str
    sha256: str
    record: str


@dataclass(frozen=True)
class Stamp:
    """`python` is its version, `base` the interpreter that the environment was made with, `size` bytes on the disk.

    `unlocked` are packages that were taken without a locked hash, `damage` what a verification found to be wrong.
    """

    profile: str
    python: str
    platform: str
    base: str
    size: int
    packages: dict[str, Installed]
    unlocked: tuple[str, ...] = ()
    damage: tuple[str, ...] = field(default=())

    def fits(self, lock: Lock) -> bool:
        """Tell whether just the packages of `lock` are installed."""
        if {package.name for package in lock.packages} != set(self.packages):
            return False
        for package in lock.packages:
            installed = self.packages[package.name]
            if package.sha256 not in (None, installed.sha256):
                return False
            if package.locked and package.version != installed.version:
                return False
        return True


def write_stamp(folder: Path, stamp: Stamp) -> None:
    """Write `stamp` into the environment `folder`. Raises EspalierError as `replacing`."""
    with replacing(folder / NAME) as partial:
        partial.write_text(json.dumps(asdict(stamp), indent=1, sort_keys=True), "utf-8")


def read_stamp(folder: Path, profile: str) -> Stamp:
    """Return the stamp of the environment `folder`. Raises EspalierError `environment_stamp`."""
    try:
        data = json.loads((folder / NAME).read_text("utf-8"))
        packages = {
            str(name): Installed(str(item["version"]), str(item["sha256"]), str(item["record"]))
            for name, item in data["packages"].items()
        }
        return Stamp(
            profile=str(data["profile"]),
            python=str(data["python"]),
            platform=str(data["platform"]),
            base=str(data["base"]),
            size=int(data["size"]),
            packages=packages,
            unlocked=tuple(str(name) for name in data["unlocked"]),
            damage=tuple(str(name) for name in data["damage"]),
        )
    except FileNotFoundError as error:
        raise EspalierError("environment_stamp", profile=profile, reason="its description is gone") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = "its description cannot be read"
        raise EspalierError("environment_stamp", repr(error), profile=profile, reason=reason) from error


def python_of(folder: Path) -> Path:
    """Return where the Python of the environment `folder` lies."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"
