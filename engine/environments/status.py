# SPDX-License-Identifier: GPL-3.0-or-later
"""How an environment stands: told in milliseconds, without network and without reading the files in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ..errors import EspalierError
from . import folders, licences, platforms
from .lock import Lock, lock_path, pythons, read_lock
from .places import Places
from .profiles import WEIGHTS, Profile, profile_of
from .stamp import Stamp, python_of, read_stamp
from .wheelhouse import find_wheel


class Condition(StrEnum):
    """Whether an environment can be used, and if not, what can be done."""

    READY = "ready"
    INSTALLABLE = "installable"
    BROKEN = "broken"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Status:
    """`why` tells what is the matter where it is not READY, or why an installation did not come to its end.

    `download_bytes` is what would still have to be fetched, `disk_bytes` what it takes on the disk (estimated until it
    is installed), `python` its interpreter where it is READY, `unlocked` the packages without a locked hash.
    """

    profile: str
    condition: Condition
    why: EspalierError | None
    download_bytes: int
    disk_bytes: int
    python: Path | None
    unlocked: tuple[str, ...]


def status(profile: str, places: Places, python: str = "", platform: str = "") -> Status:
    """Return how `profile` stands, by default for this Python and this platform.

    Raises EspalierError `environment_unknown`.
    """
    if profile == WEIGHTS:
        from .weights import status_of

        return status_of(places)
    described = profile_of(profile)
    try:
        lock = lock_for(described, places, python, platform)
    except EspalierError as error:
        return Status(profile, Condition.IMPOSSIBLE, error, 0, 0, None, ())
    missing, size = needed_bytes(lock, places)
    stamp: Stamp | None = None
    why: EspalierError | None = None
    folder = places.environment(profile)
    if not folder.is_dir():
        condition = Condition.INSTALLABLE
        if folders.leftovers(places, profile):
            why = EspalierError("environment_interrupted", profile=profile)
    else:
        stamp, why = _examine(folder, lock)
        condition = Condition.BROKEN if why else Condition.READY
    return Status(
        profile,
        condition,
        why,
        missing if condition is not Condition.READY else 0,
        stamp.size if stamp else size,
        python_of(folder) if condition is Condition.READY else None,
        tuple(package.name for package in lock.unlocked),
    )


def lock_for(profile: Profile, places: Places, python: str = "", platform: str = "") -> Lock:
    """Return the lock of `profile`, by default for this Python and this platform.

    What comes under an optional license that was not accepted is left out of it.

    Raises EspalierError that says why it cannot be installed here: `environment_platform`, `environment_python`,
    `environment_no_gpu`, `environment_lock`.
    """
    here = not platform
    platform = platform or platforms.this_platform()
    python = python or platforms.this_python()
    if platform not in profile.platforms:
        raise EspalierError("environment_platform", profile=profile.name, platform=platforms.described(platform))
    path = lock_path(places.locks, profile.name, python, platform)
    if not path.is_file():
        found = ", ".join(pythons(places.locks, profile.name, platform))
        known = f"a Blender with Python {found}" if found else "a later version of Espalier"
        raise EspalierError("environment_python", profile=profile.name, python=python, known=known)
    if profile.needs_gpu and here and not platforms.has_gpu_driver():
        raise EspalierError("environment_no_gpu", profile=profile.name)
    lock = read_lock(path)
    refused = licences.OPTIONAL - licences.accepted(places)
    return replace(lock, packages=tuple(package for package in lock.packages if package.name not in refused))


def needed_bytes(lock: Lock, places: Places) -> tuple[int, int]:
    """Return how many bytes of `lock` are still to be fetched, and about how many it takes once installed."""
    sizes = [package.size or 0 for package in lock.packages]
    missing = sum(package.size or 0 for package in lock.packages if find_wheel(package, places) is None)
    return missing, round(sum(sizes) * profile_of(lock.profile).unpacked)


def _examine(folder: Path, lock: Lock) -> tuple[Stamp | None, EspalierError | None]:
    """Return what the environment `folder` says of itself, and what is wrong with it."""
    profile = lock.profile
    try:
        stamp = read_stamp(folder, profile)
    except EspalierError as error:
        return None, error
    if stamp.python != lock.python or stamp.platform != lock.platform:
        versions = {"theirs": stamp.python, "ours": lock.python}
        return stamp, EspalierError("environment_other_python", profile=profile, **versions)
    if not python_of(folder).exists() or not Path(stamp.base).exists():
        return stamp, EspalierError("environment_python_gone", profile=profile)
    if stamp.damage:
        return stamp, damaged(profile, stamp.damage)
    if not stamp.fits(lock):
        return stamp, EspalierError("environment_outdated", profile=profile)
    return stamp, None


def damaged(profile: str, names: tuple[str, ...]) -> EspalierError:
    """Return the failure for an environment of which the files `names` are not as they were installed."""
    return EspalierError("environment_damaged", profile=profile, count=len(names), name=names[0])
