# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of environments: one at work at a time, new ones taken into use by a rename, leftovers cleared away.

A new environment is made in a folder of its own, whose name starts with a dot and the profile. It holds a stamp only
once it is whole and verified, so one with a stamp only waits to be taken into use.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import EspalierError
from ..files import make_folder, sync_folder, unwritable
from ..locking import lock
from . import stamp
from .places import Places

_TRIES = 10
_PAUSE_S = 0.2


@contextlib.contextmanager
def held(places: Places, name: str = "environments") -> Iterator[None]:
    """Keep all others from working in `places` under `name` until the block, or this process, ends.

    Raises EspalierError `environment_busy`, `output_unwritable`, `disk_full`.
    """
    make_folder(places.root)
    path = places.root / f"{name}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        if not lock(descriptor):
            raise EspalierError("environment_busy", path=places.root)
        yield
    finally:
        os.close(descriptor)


def leftovers(places: Places, profile: str) -> list[Path]:
    """Return the folders that a run which did not come to its end left behind."""
    return sorted(places.root.glob(f".{profile}-*"))


def new_folder(places: Places, profile: str, what: str) -> Path:
    """Return a name for a folder that belongs to `profile` and does not exist yet."""
    return places.root / f".{profile}-{what}-{secrets.token_hex(3)}"


def finished(places: Places, profile: str) -> Path | None:
    """Return an environment that was made and verified, and only waits to be taken into use."""
    made = (folder for folder in leftovers(places, profile) if folder.name.startswith(f".{profile}-new-"))
    return next((folder for folder in made if (folder / stamp.NAME).is_file()), None)


def sweep(places: Places, profile: str, keep: Path | None = None) -> None:
    """Bring back an environment that was put aside and not replaced, and clear away all other leftovers but `keep`."""
    target = places.environment(profile)
    for folder in leftovers(places, profile):
        if folder.name.startswith(f".{profile}-old-") and not target.exists():
            with contextlib.suppress(OSError):
                folder.rename(target)
                continue
        if folder != keep:
            erase(folder)


def switch(places: Places, profile: str, new: Path) -> None:
    """Take the environment `new` into use; the one before is removed, or stays if that cannot be.

    Raises EspalierError `environment_in_use`.
    """
    target = places.environment(profile)
    old = put_aside(places, profile)
    try:
        _rename(new, target)
    except OSError as error:
        if old is not None:
            old.rename(target)
        raise _in_use(profile, error) from error
    sync_folder(places.root)
    if old is not None:
        erase(old)


def put_aside(places: Places, profile: str) -> Path | None:
    """Rename the environment of `profile`, if there is one, and return its new name.

    Raises EspalierError `environment_in_use`.
    """
    target = places.environment(profile)
    if not target.exists():
        return None
    old = new_folder(places, profile, "old")
    try:
        _rename(target, old)
    except OSError as error:
        raise _in_use(profile, error) from error
    return old


def erase(folder: Path) -> None:
    """Remove `folder` with all in it, as far as the system allows; what stays is a leftover."""
    shutil.rmtree(long(folder), ignore_errors=True)


def long(path: Path) -> Path:
    """Return `path` so that also Windows takes it where it has more than 260 characters."""
    if sys.platform == "win32" and path.is_absolute() and not str(path).startswith("\\\\"):
        return Path(f"\\\\?\\{path}")
    return path


def _rename(source: Path, target: Path) -> None:
    for turn in range(_TRIES):
        try:
            source.rename(target)
            return
        except PermissionError:
            # On Windows a file in it is open: perhaps only for the moment in which a scanner looks at it.
            if sys.platform != "win32" or turn == _TRIES - 1:
                raise
            time.sleep(_PAUSE_S)


def _in_use(profile: str, error: OSError) -> EspalierError:
    reason = (error.strerror or "the system refused").strip().rstrip(".")
    return EspalierError("environment_in_use", repr(error), profile=profile, reason=f"{reason[:1].lower()}{reason[1:]}")
