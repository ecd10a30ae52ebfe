# SPDX-License-Identifier: GPL-3.0-or-later
"""What the library takes on the disk, and what of it may go. All of this waits for the disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import EspalierError
from .job import ACTIVE, State
from .library import PARTIAL, RESULT
from .owner import SUFFIX, Owner
from .schema import explain

_DOOMED = ".removed"
_WANTED = (*ACTIVE, State.READY, State.UNKNOWN)
"""Jobs that are not at their end: they keep what they have and what they start from."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished asset in the library: the job that made it, when (seconds since 1970), and its bytes on the disk."""

    job: str
    made: float
    size: int


def measure(folder: Path) -> list[Result]:
    """Return the finished assets below the library's `folder`, oldest first. Those that vanish meanwhile are left out.

    Raises OSError where the folder itself cannot be read.
    """
    found = []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.endswith((PARTIAL, _DOOMED))]
    for name in names:
        try:
            made = (folder / name / RESULT).stat().st_mtime
            found.append(Result(name, made, _size(folder / name)))
        except OSError:
            continue
    return sorted(found, key=lambda each: (each.made, each.job))


def surplus(results: Sequence[Result], needed: Iterable[str], before: float, most: int) -> list[Result]:
    """Return what may go of `results`: all made earlier than `before`, and the oldest until `most` bytes are left.

    What is `needed` (names of jobs) stays and counts. A `before` of 0 and a `most` of 0 ask for nothing.
    """
    kept = frozenset(needed)
    left = sum(each.size for each in results)
    found = []
    for each in sorted(results, key=lambda result: (result.made, result.job)):
        if each.job not in kept and (each.made < before or (most and left > most)):
            found.append(each)
            left -= each.size
    return found


def wanted(ledger: Path, folder: Path) -> set[str]:
    """Return the jobs whose folders in the library `folder` the unfinished jobs of all Blenders need.

    That are those jobs' own, and those in which what they start from lies. Raises EspalierError as `schema.explain`.
    """
    if not ledger.is_file():
        return set()
    marks = ", ".join("?" for _ in _WANTED)
    query = f"SELECT id, request, placement FROM jobs WHERE state IN ({marks})"
    try:
        with closing(sqlite3.connect(ledger, timeout=5.0)) as connection:
            rows = connection.execute(query, [str(state) for state in _WANTED]).fetchall()
    except sqlite3.Error as error:
        raise explain(error, ledger) from error
    texts = [text for _, *pair in rows for text in pair]
    with os.scandir(folder) as entries:
        named = {entry.name for entry in entries if any(entry.name in text for text in texts)}
    return named | {job for job, *_ in rows}


def others(owners: Path, own: int) -> int:
    """Return how many other Blenders work with this library: the owners alive in the folder, less the `own` ones.

    Raises OSError where the folder cannot be written.
    """
    if not owners.is_dir():
        return 0
    looking = Owner(owners)
    try:
        alive = sum(looking.alive(path.stem) for path in owners.glob(f"*{SUFFIX}"))
    finally:
        looking.release()
    return max(alive - 1 - own, 0)


def discard(folder: Path, jobs: Iterable[str]) -> int:
    """Remove the folders of `jobs` from the library; return how many bytes that has freed.

    Each is taken out of the library at once, by its name, and then removed file by file: none stays half.
    Raises EspalierError `output_unwritable` at the first that cannot be removed.
    """
    freed = 0
    for job in jobs:
        place, doomed = folder / job, folder / f"{job}{_DOOMED}"
        try:
            size = _size(place)
            os.replace(place, doomed)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = (error.strerror or "the system refused").lower()
            raise EspalierError("output_unwritable", repr(error), path=place, reason=reason) from error
        shutil.rmtree(doomed, ignore_errors=True)
        freed += size
    for left in folder.glob(f"*{_DOOMED}"):
        shutil.rmtree(left, ignore_errors=True)
    return freed


def _size(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in folder.rglob("*") if entry.is_file())
