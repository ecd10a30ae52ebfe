# SPDX-License-Identifier: GPL-3.0-or-later
"""A new environment, made by uv out of wheels that are all here, verified, and then stamped as whole."""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path

from ..errors import EspalierError
from ..files import make_folder, unwritable
from .folders import erase, new_folder
from .lock import Lock
from .places import Places
from .stamp import Installed, Stamp, python_of, write_stamp
from .tools import run_tool
from .verify import damage_in, entries, load, records
from .wheelhouse import Check, Report, Wheel

MAKING, INSTALLING = "Making the environment", "Installing"
_FULL = ("no space left", "os error 28", "os error 112", "quota exceeded", "os error 122")


def build(lock: Lock, wheels: list[Wheel], places: Places, uv: Path, base: str, report: Report, check: Check) -> Path:
    """Return a new folder with the environment of `lock`, made of `wheels` for the Python `base` by the program `uv`.

    Nothing is fetched, nothing is compiled, no dependency is looked for; each wheel goes in by its very hash.
    Raises EspalierError `environment_build`, `environment_imports`, `disk_full`, `output_unwritable`, or Cancelled.
    """
    folder = new_folder(places, lock.profile, "new")
    work = new_folder(places, lock.profile, "work")
    try:
        make_folder(work)
        _make(lock, wheels, places, (uv, base), (folder, work), report, check)
    except BaseException as error:
        erase(folder)
        if isinstance(error, OSError):
            raise unwritable(Path(error.filename or folder), error) from error
        raise
    finally:
        erase(work)
    return folder


def _make(
    lock: Lock,
    wheels: list[Wheel],
    places: Places,
    programs: tuple[Path, str],
    folders: tuple[Path, Path],
    report: Report,
    check: Check,
) -> None:
    (uv, base), (folder, work) = programs, folders
    report(MAKING, 0, 0)
    common = ("--no-config", "--offline", "--no-python-downloads", "--cache-dir", work / "cache", "--color", "never")
    _call((uv, "venv", *common, "--python", base, "--relocatable", "--no-project", folder), lock, places, work, check)
    listing = work / "requirements.txt"
    listing.write_text("".join(f"{_requirement(wheel)}\n" for wheel in wheels), "utf-8")
    total = sum(wheel.size for wheel in wheels)

    def look() -> None:
        check()
        there = records(folder)
        report(INSTALLING, sum(wheel.size for wheel in wheels if wheel.package.name in there), total)

    look()
    how = ("--no-index", "--no-deps", "--no-build", "--require-hashes", "--no-sources")
    command = (uv, "pip", "install", *common, *how, "--python", python_of(folder), "--requirements", listing)
    _call(command, lock, places, work, look)
    stamp = _describe(lock, wheels, folder, base)
    _, wrong = damage_in(folder, stamp, report)
    if wrong:
        raise EspalierError("environment_damaged", profile=lock.profile, count=len(wrong), name=wrong[0])
    load(folder, set(stamp.packages), lock.profile, work, str(places.log), report, check)
    write_stamp(folder, stamp)


def _requirement(wheel: Wheel) -> str:
    return f"{wheel.package.name} @ {wheel.path.resolve().as_uri()} --hash=sha256:{wheel.sha256}"


def _call(command: tuple[str | Path, ...], lock: Lock, places: Places, work: Path, check: Check) -> None:
    """Run uv. Raises EspalierError where it fails."""
    try:
        code, said = run_tool(command, work, check)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise unwritable(work, error) from error
        reason = f"the system does not start it ({error.strerror})"
        raise EspalierError("environment_tool", repr(error), reason=reason) from error
    if code == 0:
        return
    if any(sign in said.lower() for sign in _FULL):
        raise EspalierError("disk_full", said, path=places.root)
    # uv draws its messages as a tree.
    lines = [re.sub(r"^\W+", "", line) for line in said.splitlines()]
    reason = next(filter(None, lines), f"exit code {code}")[:200].rstrip(".")
    raise EspalierError("environment_build", said, profile=lock.profile, reason=reason, log=places.log)


def _describe(lock: Lock, wheels: list[Wheel], folder: Path, base: str) -> Stamp:
    """Return the stamp of what really is in `folder`. Raises EspalierError where a package is not."""
    there = records(folder)
    packages: dict[str, Installed] = {}
    size = 0
    for wheel in wheels:
        name = wheel.package.name
        record = there.get(name)
        if record is None:
            raise EspalierError("environment_damaged", profile=lock.profile, count=1, name=name)
        version = record.parent.name.removesuffix(".dist-info").partition("-")[2]
        packages[name] = Installed(version, wheel.sha256, hashlib.sha256(record.read_bytes()).hexdigest())
        size += sum(entry.size for entry in entries(record))
    unlocked = tuple(package.name for package in lock.unlocked)
    return Stamp(lock.profile, lock.python, lock.platform, base, size, packages, unlocked)
