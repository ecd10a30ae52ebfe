# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an environment is what was installed: every file by its hash, and what matters by loading it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import EspalierError
from ..files import digest_of
from .folders import long
from .profiles import profile_of
from .stamp import Stamp, python_of
from .tools import run_tool
from .wheel import normalized, record_hash
from .wheelhouse import Check, Report

VERIFYING, LOADING = "Verifying files", "Loading packages"
_TRIAL = """
import importlib, importlib.util, json, sys
loaded, found = json.loads(sys.argv[1])
for kind, names in (("loaded", loaded), ("found", found)):
    for package, module in names.items():
        try:
            if kind == "loaded":
                importlib.import_module(module)
            elif importlib.util.find_spec(module) is None:
                raise ModuleNotFoundError(module)
        except BaseException as error:
            print("\\n" + json.dumps([package, f"{type(error).__name__}: {error}"]))
            raise SystemExit(3)
"""


@dataclass(frozen=True)
class Entry:
    """A file of a package: its path, the hash that it should have ("" where none is stated), its size."""

    path: Path
    stated: str
    size: int


def records(folder: Path) -> dict[str, Path]:
    """Return the lists of files (RECORD) in the environment `folder` by the normalized names of their packages."""
    return {
        normalized(path.parent.name.split("-")[0]): path for path in site_packages(folder).glob("*.dist-info/RECORD")
    }


def entries(record: Path) -> Iterator[Entry]:
    """Yield the files in the list `record`. Raises OSError or ValueError where it cannot be read."""
    with record.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if row:
                stated = row[1] if len(row) > 1 else ""
                size = int(row[2]) if len(row) > 2 and row[2].isdigit() else 0
                yield Entry(record.parent.parent / row[0], stated, size)


def damage_in(folder: Path, stamp: Stamp, report: Report) -> tuple[int, tuple[str, ...]]:
    """Return how many files of the environment `folder` were looked at, and the names of those that are not right.

    Raises Cancelled from `report`.
    """
    wrong: list[str] = []
    lists = records(folder)
    listed: list[Entry] = []
    for name, installed in stamp.packages.items():
        record = lists.get(name)
        try:
            if record is None or hashlib.sha256(record.read_bytes()).hexdigest() != installed.record:
                wrong.append(f"the list of files of {name}")
                continue
            listed += entries(record)
        except (OSError, ValueError):
            wrong.append(f"the list of files of {name}")
    total, done = sum(entry.size for entry in listed), 0
    for entry in listed:
        if entry.stated and not _is_right(entry, partial(report, VERIFYING, done, total)):
            wrong.append(entry.path.name)
        done += entry.size
    return len(listed), tuple(dict.fromkeys(wrong))


def load(folder: Path, packages: set[str], profile: str, work: Path, log: str, report: Report, check: Check) -> None:
    """Load what the environment `folder` is for, in its own Python. Raises EspalierError `environment_imports`."""
    described = profile_of(profile)
    trials = [
        {name: module for name, module in names.items() if name in packages}
        for names in (described.loaded, described.found)
    ]
    report(LOADING, 0, 0)
    command: list[str | Path] = [python_of(folder), "-I", "-B", "-c", _TRIAL, json.dumps(trials)]
    package, reason = "Python", "it does not start"
    try:
        code, said = run_tool(command, work, check)
        if code == 0:
            return
        try:
            package, reason = (str(part) for part in json.loads(said.strip().splitlines()[-1]))
        except (ValueError, IndexError):
            reason = f"it ended with exit code {code}"
    except OSError as error:
        said = repr(error)
    line = reason.strip().splitlines()[0][:200].rstrip(". ") if reason.strip() else "it failed"
    raise EspalierError("environment_imports", said, package=package, profile=profile, reason=line, log=log)


def site_packages(folder: Path) -> Path:
    """Return the folder of modules in the environment `folder`."""
    found = [*folder.glob("lib/python3*/site-packages"), *folder.glob("Lib/site-packages")]
    return long(found[0]) if found else folder / "lib"


def _is_right(entry: Entry, check: Callable[[], None]) -> bool:
    algorithm = entry.stated.partition("=")[0]
    try:
        return record_hash(digest_of(entry.path, lambda _: check(), algorithm), algorithm) == entry.stated
    except (OSError, ValueError):
        return False
