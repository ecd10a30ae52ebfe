# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with an environment, step by step: install, verify, repair, remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import EspalierError
from ..files import make_folder
from ..words import size_words
from ..workers.launch import find_python
from . import folders, licences
from .build import build
from .connection import Connection
from .gather import gather
from .lock import Lock
from .order import Act, Order
from .places import Places
from .profiles import PROFILES, WEIGHTS, Profile, profile_of
from .sources import Sources
from .stamp import Stamp, read_stamp, write_stamp
from .status import Condition, damaged, lock_for, needed_bytes, status
from .tools import unpack_uv
from .verify import damage_in, load
from .wheelhouse import Check, Report, ensure_space, prune, unpacked_bytes

_RESERVE = 16_000_000


def run(order: Order, places: Places, sources: Sources, report: Report, check: Check) -> list[str]:
    """Carry out `order` and return what came of it, in sentences.

    `report` is told the stage and the bytes that are done, of how many (0 where that is not known); it and `check`
    raise Cancelled once nobody wants it any more. Raises EspalierError.
    """
    if order.profile == WEIGHTS:
        from .weights import run as run_weights

        return run_weights(order, places, sources, report, check)
    job = _Job(profile_of(order.profile), order, places, sources, report, check)
    with folders.held(places):
        if order.act in ("install", "repair"):
            licences.accept(places, order.accepted)
            licences.require(places, licences.needed(order.profile))
        return _ACTS[order.act](job)


@dataclass(frozen=True)
class _Job:
    profile: Profile
    order: Order
    places: Places
    sources: Sources
    report: Report
    check: Check

    @property
    def name(self) -> str:
        return self.profile.name


def _install(job: _Job) -> list[str]:
    if status(job.name, job.places).condition is Condition.READY:
        folders.sweep(job.places, job.name)
        return [f"The environment {job.name} is installed already."]
    return _make(job)


def _make(job: _Job) -> list[str]:
    """Make the environment anew, take it into use, and clear away what is of no use any more."""
    places = job.places
    lock = lock_for(job.profile, places)
    _ensure_allowed(lock, job.sources)
    made = _waiting(lock, places)
    folders.sweep(places, job.name, keep=made)
    if made is None:
        make_folder(places.root)
        uv, base = unpack_uv(places), find_python()
        missing, size = needed_bytes(lock, places)
        ensure_space(places, missing + size + _RESERVE)
        connection = Connection(job.sources, job.check)
        try:
            wheels = gather(lock, places, connection, job.report)
        finally:
            connection.close()
        ensure_space(places, unpacked_bytes(wheels) + _RESERVE)
        made = build(lock, wheels, places, uv, base, job.report, job.check)
    folders.switch(places, job.name, made)
    folders.sweep(places, job.name)
    prune(places, [lock, *_locks_of_others(job)])
    stamp = read_stamp(places.environment(job.name), job.name)
    words = [f"The environment {job.name} is ready: {len(stamp.packages)} packages, {size_words(stamp.size)}."]
    if stamp.unlocked:
        names = ", ".join(stamp.unlocked)
        words.append(f"Without a locked hash, as allowed: {names}.")
    return words


def _verify(job: _Job) -> list[str]:
    count, wrong = _examine(job)
    if wrong:
        raise damaged(job.name, wrong)
    return [f"All {count} files of the environment {job.name} are as they were installed."]


def _repair(job: _Job) -> list[str]:
    found = status(job.name, job.places)
    known = found.why is not None and found.why.code != "environment_damaged"
    if found.condition in (Condition.READY, Condition.BROKEN) and not known:
        _, wrong = _examine(job)
        if not wrong:
            return [f"Nothing is wrong with the environment {job.name}."]
    return _make(job)


def _remove(job: _Job) -> list[str]:
    places = job.places
    old = folders.put_aside(places, job.name)
    if old is not None:
        folders.erase(old)
    for folder in folders.leftovers(places, job.name):
        folders.erase(folder)
    prune(places, _locks_of_others(job))
    return [f"The environment {job.name} is removed."]


_ACTS: Mapping[Act, Callable[[_Job], list[str]]] = {
    "install": _install,
    "verify": _verify,
    "repair": _repair,
    "remove": _remove,
}


def _ensure_allowed(lock: Lock, sources: Sources) -> None:
    """Raise EspalierError `environment_unlocked` where a hash is not known and the person does not do without it."""
    if lock.unlocked and not sources.allow_unlocked:
        names = ", ".join(package.name for package in lock.unlocked)
        reason = (lock.unlocked[0].why or "it was not known when the list was made").rstrip(".")
        raise EspalierError("environment_unlocked", packages=names, reason=f"{reason[:1].lower()}{reason[1:]}")


def _waiting(lock: Lock, places: Places) -> Path | None:
    """Return an environment of just this lock that was made before and could not be taken into use then."""
    made = folders.finished(places, lock.profile)
    if made is None:
        return None
    try:
        stamp = read_stamp(made, lock.profile)
    except EspalierError:
        return None
    fresh = stamp.python == lock.python and stamp.platform == lock.platform and Path(stamp.base).exists()
    return made if fresh and stamp.fits(lock) else None


def _examine(job: _Job) -> tuple[int, tuple[str, ...]]:
    """Return how many files were looked at and which are wrong, and note it in the stamp for `status`.

    Raises EspalierError where it cannot even be looked at, or a package does not load.
    """
    places, folder = job.places, job.places.environment(job.name)
    if not folder.is_dir():
        raise EspalierError("environment_missing", profile=job.name)
    found = status(job.name, places)
    if found.why is not None and found.why.code != "environment_damaged":
        raise found.why
    stamp = read_stamp(folder, job.name)
    count, wrong = damage_in(folder, stamp, job.report)
    if not wrong:
        work = folders.new_folder(places, job.name, "work")
        try:
            make_folder(work)
            load(folder, set(stamp.packages), job.name, work, str(places.log), job.report, job.check)
        except EspalierError as error:
            if error.code == "environment_imports":
                _note(folder, stamp, (error.fields["package"],))
            raise
        finally:
            folders.erase(work)
    _note(folder, stamp, wrong)
    return count, wrong


def _note(folder: Path, stamp: Stamp, damage: tuple[str, ...]) -> None:
    if stamp.damage != damage:
        write_stamp(folder, replace(stamp, damage=damage))


def _locks_of_others(job: _Job) -> list[Lock]:
    """Return the locks of the other environments that are installed, whose downloads are kept."""
    locks = []
    for name, profile in PROFILES.items():
        if name != job.name and job.places.environment(name).is_dir():
            try:
                locks.append(lock_for(profile, job.places))
            except EspalierError:
                continue
    return locks
