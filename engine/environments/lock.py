# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of an environment: every package of it with its version, source, file, hash and size."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EspalierError

REGISTRY = "registry"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FILE = re.compile(r"[A-Za-z0-9._+!-]+\.whl")
_HASH = re.compile(r"[0-9a-f]{64}")
_SOURCE = re.compile(r"https://|http://(127\.0\.0\.1|localhost)[:/]")


@dataclass(frozen=True)
class Package:
    """One package. `source` is REGISTRY or the address of its own index page or file.

    Where `sha256` is None it is not yet locked, and `why` says in a sentence why; `file` and `size` may be None too.
    """

    name: str
    version: str
    source: str
    file: str | None
    sha256: str | None
    size: int | None
    why: str = ""

    @property
    def locked(self) -> bool:
        """Whether its very file is known."""
        return self.sha256 is not None


@dataclass(frozen=True)
class Lock:
    """All packages of `profile` for one Python and one platform."""

    profile: str
    python: str
    platform: str
    packages: tuple[Package, ...]

    @property
    def unlocked(self) -> tuple[Package, ...]:
        """The packages whose file is not known yet."""
        return tuple(package for package in self.packages if not package.locked)


def lock_path(folder: Path, profile: str, python: str, platform: str) -> Path:
    """Return where the lock lies in `folder`."""
    return folder / f"{profile}-{python}-{platform}.json"


def pythons(folder: Path, profile: str, platform: str) -> tuple[str, ...]:
    """Return the versions of Python that `profile` is locked for on `platform`."""
    found = (path.stem.split("-")[1] for path in folder.glob(f"{profile}-*-{platform}.json"))
    return tuple(sorted(found, key=lambda version: [int(part) for part in version.split(".") if part.isdigit()]))


def read_lock(path: Path) -> Lock:
    """Return the lock in the file `path`. Raises EspalierError `environment_lock` where it is not a sound one."""
    try:
        data = json.loads(path.read_text("utf-8"))
        packages = tuple(_package(item) for item in data["packages"])
        lock = Lock(_text(data["profile"]), _text(data["python"]), _text(data["platform"]), packages)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise EspalierError("environment_lock", repr(error), name=path.name, reason=reason) from error
    names = [package.name for package in packages]
    if path != lock_path(path.parent, lock.profile, lock.python, lock.platform):
        raise EspalierError("environment_lock", name=path.name, reason="it is the list of another environment")
    if len(set(names)) < len(names) or not names:
        raise EspalierError("environment_lock", name=path.name, reason="a package is there twice, or there is none")
    return lock


def _package(data: Mapping[str, Any]) -> Package:
    package = Package(
        _matching(_NAME, data["name"]),
        _text(data["version"]),
        _text(data["source"]),
        None if data["file"] is None else _matching(_FILE, data["file"]),
        None if data["sha256"] is None else _matching(_HASH, data["sha256"]),
        None if data["size"] is None else int(data["size"]),
        _text(data.get("why", "")),
    )
    if package.source != REGISTRY and not _SOURCE.match(package.source):
        raise ValueError(f"{package.name} has the source {package.source}")
    if package.locked and (package.file is None or package.size is None):
        raise ValueError(f"{package.name} has a hash, but no file or no size")
    if package.source == REGISTRY and not package.locked:
        raise ValueError(f"{package.name} comes from the registry without a hash")
    return package


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    raise ValueError(f"{value!r:.80} is not allowed there")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{value!r:.80} is not a text")
