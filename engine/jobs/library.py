# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of finished assets. All of this waits for the disk and belongs in a thread of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import EspalierError
from ..files import sync_folder, unwritable
from .job import ACTIVE, State

ASSET = "asset.glb"
RESULT = "result.json"
REMOTE_ID = "remote_id"
PARTIAL = ".partial"
_SCANNED_S = 3.0
_PARTIAL_NAME = re.compile(rf"(?P<job>.+)-(?P<run>\d+){re.escape(PARTIAL)}")


class Library:
    """The assets below `folder`, one folder a job.

    A worker makes an asset in a folder that bears the number of the run: a child of a killed Blender that has not ended
    yet and one that was started for the same job afterwards do not write into each other's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """Make the folder, and see whether it can be written. Raises EspalierError."""
        probe = self.folder / f".{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def place(self, job: str) -> Path:
        """Return where the asset of `job` is once it is ready."""
        return self.folder / job

    def partial(self, job: str, run: int) -> Path:
        """Return where the worker makes it in its run number `run`."""
        return self.folder / f"{job}-{run}{PARTIAL}"

    def whole(self, job: str) -> bool:
        """Tell whether the asset of `job` is in its place."""
        return _whole(self.place(job))

    def made(self, job: str, run: int) -> bool:
        """Tell whether the worker finished it, and whether it can be, or is already, in its place."""
        return _whole(self.partial(job, run)) or self.whole(job)

    def remote_id(self, job: str, run: int) -> str:
        """Return what the worker was told by a server that it calls the job, empty if it was told nothing."""
        try:
            return (self.partial(job, run) / REMOTE_ID).read_text("utf-8")
        except (OSError, ValueError):
            return ""

    def promote(self, job: str, run: int) -> dict[str, Any]:
        """Move what the worker finished into its place, unless it is there already; return its result.json.

        Raises EspalierError `asset_missing`, `output_unwritable` or `disk_full`.
        """
        partial, place = self.partial(job, run), self.place(job)
        try:
            if _whole(partial):
                if place.exists():
                    shutil.rmtree(place)
                _rename(partial, place)
            sync_folder(self.folder)
            result = self.result(job)
        except FileNotFoundError as error:
            raise EspalierError("asset_missing", repr(error), name=job) from error
        except ValueError as error:
            raise EspalierError("internal", repr(error), reason="an unreadable result", log=place) from error
        except OSError as error:
            raise unwritable(place, error) from error
        self.sweep(job)
        return result

    def result(self, job: str) -> dict[str, Any]:
        """Return the result.json of `job`, whose asset is in its place. Raises OSError or ValueError."""
        result = json.loads((self.place(job) / RESULT).read_bytes())
        return result if isinstance(result, dict) else {}

    def sweep(self, job: str) -> None:
        """Remove what runs of `job` have left behind."""
        for path in self.folder.glob(f"{job}-*{PARTIAL}"):
            shutil.rmtree(path, ignore_errors=True)

    def remove(self, job: str) -> None:
        """Remove all there is of `job`, which was cancelled."""
        shutil.rmtree(self.place(job), ignore_errors=True)
        self.sweep(job)

    def tidy(self, states: Callable[[Iterable[str]], Mapping[str, tuple[State, int]]]) -> None:
        """Remove what killed processes have left: runs that go on no more, and what was cancelled.

        `states` returns the state and the number of runs of the jobs that it knows. Finished assets are never touched,
        nor is anything that no job of the ledger accounts for.
        """
        names = {path.name: _PARTIAL_NAME.fullmatch(path.name) for path in self.folder.iterdir()}
        known = states({match["job"] if match else name for name, match in names.items()})
        for name, match in names.items():
            state, runs = known.get(match["job"] if match else name, (None, 0))
            stale = match is not None and (state not in ACTIVE or int(match["run"]) != runs)
            if state is not None and (stale or (match is None and state is State.CANCELLED)):
                shutil.rmtree(self.folder / name, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    """Rename a folder; on Windows, wait a little for a virus scanner that has just opened a file in it."""
    deadline = time.monotonic() + (_SCANNED_S if os.name == "nt" else 0.0)
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


def _whole(folder: Path) -> bool:
    return (folder / RESULT).is_file() and (folder / ASSET).is_file()
