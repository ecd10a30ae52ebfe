# SPDX-License-Identifier: GPL-3.0-or-later
"""The library as Blender's asset browser shows it: each result gets a .blend of its own, which another Blender makes.

That one has no window, runs beside this one and ends with it: loading a mesh and writing it again would hold up the
artist, and the open file would lend it names. Nothing of this happens in background mode.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import bpy

from ..engine.errors import EspalierError
from ..engine.jobs.job import Job, State
from . import account, library_child, session
from .account import PACKAGE
from .languages import msgid
from .scene.asset_file import FILE

if TYPE_CHECKING:
    from ..engine.workers.containment import Contained

FOLDER = "library"
NAME = "Espalier"
_OURS = re.compile(rf"{NAME}(\.\d+)?")
"""What Blender makes of the name where another library has it already."""
LOOK_AFTER_S = 4.0
STEP_S = 0.5
"""Results that come within this time share a Blender."""
OPTIONS = ("--background", "--factory-startup", "--offline-mode", "-noaudio", "--python-exit-code", "1", "--python")
_DONE = (State.READY, State.IMPORTED)


@dataclass(slots=True)
class Shelf:
    """`waiting` are results that are to become assets, `seen` those that were asked for since the add-on was enabled.

    `failed` maps a result that could not be made an asset to the reason. `made` counts the others. `found` will hold
    those that a look at the disk has found.
    """

    waiting: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    failed: dict[str, EspalierError] = field(default_factory=dict)
    made: int = 0
    found: SimpleQueue[list[str]] | None = None
    helper: Helper | None = None

    @property
    def problem(self) -> EspalierError | None:
        """What is to be shown of those that failed."""
        if not self.failed:
            return None
        reason = next(iter(self.failed.values())).cause.rstrip(".")
        return EspalierError("asset_file_failed", count=len(self.failed), reason=reason[:1].lower() + reason[1:])


class Helper:
    """The other Blender while it makes `results` of the library `folder` into assets. All waiting is in its thread."""

    def __init__(self, folder: Path, results: Iterable[str], author: str) -> None:
        self.results = list(results)
        self.news: SimpleQueue[tuple[str, EspalierError | None]] = SimpleQueue()
        self.ended = threading.Event()
        self._order = json.dumps({"library": str(folder), "results": self.results, "author": author}) + "\n"
        self._command = command()
        self._child: Contained | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="library-assets", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the other Blender and wait for that. What it was writing is not there at all."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()
        self._thread.join(10.0)

    def _run(self) -> None:
        left = list(self.results)
        log: list[bytes] = []
        try:
            from ..engine.workers.containment import Contained

            with self._lock:
                if self._stopped:
                    return
                child = self._child = Contained(self._command, os.environ)
            self._hear_out(child, left, log)
        except OSError as error:
            log.append(repr(error).encode())
        finally:
            if not self._stopped:
                detail = b"".join(log[-40:]).decode(errors="replace")
                for result in left:
                    reason = msgid("the Blender beside this one stopped")
                    self.news.put((result, EspalierError("import_failed", detail, name=result, reason=reason)))
            self.ended.set()

    def _hear_out(self, child: Contained, left: list[str], log: list[bytes]) -> None:
        """Give `child` the order and hear it until it has ended, however that goes; each result told leaves `left`."""
        process = child.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        errors = threading.Thread(target=lambda: log.extend(process.stderr), name="library-log", daemon=True)
        errors.start()
        try:
            with process.stdin, process.stdout:
                process.stdin.write(self._order.encode())
                process.stdin.close()
                for line in process.stdout:
                    told = line.decode(errors="replace")
                    if told.startswith(library_child.MARK):
                        left.remove(self._tell(json.loads(told.removeprefix(library_child.MARK))))
        except (OSError, ValueError) as error:  # it was ended while it was given the order, or told what is no answer
            log.append(repr(error).encode())
            child.kill()
        child.wait()
        errors.join(1.0)
        process.stderr.close()

    def _tell(self, told: dict[str, object]) -> str:
        error = told["error"]
        result = str(told["result"])
        self.news.put((result, EspalierError.from_json(error) if isinstance(error, dict) else None))
        return result


shelf = Shelf()


def folder() -> Path:
    """Return where the library lies, whether or not it is there."""
    return Path(bpy.utils.extension_path_user(PACKAGE, path=FOLDER))


def command() -> list[str]:
    """Return the command line of a Blender without a window that runs `library_child`."""
    if bpy.app.binary_path:
        return [bpy.app.binary_path, *OPTIONS, library_child.__file__]
    return [sys.executable, "-I", library_child.__file__]  # Blender as a module of Python


def follow(jobs: Iterable[Job]) -> None:
    """Let the results of those of `jobs` that are finished become assets, soon. Quick: no disk is looked at."""
    if bpy.app.background or not account.preferences().asset_library:
        return
    add(job.id for job in jobs if job.state in _DONE and job.folder is not None)
    if shelf.waiting:
        watch()


def add(results: Iterable[str]) -> None:
    """Put `results`, names of folders in the library, in line; none twice."""
    fresh = [result for result in dict.fromkeys(results) if result not in shelf.seen]
    shelf.waiting += fresh
    shelf.seen.update(fresh)


def step() -> bool:
    """Hear the other Blender, start it where something waits; tell whether there is more to do."""
    helper, found = shelf.helper, shelf.found
    if found is not None and not found.empty():
        add(found.get())
        shelf.found = None
    if helper is not None:
        ended = helper.ended.is_set()
        heard = _hear(helper)
        if heard:
            session.redraw()
        if not ended:
            return True
        shelf.helper = None
    if shelf.waiting:
        results, shelf.waiting = shelf.waiting, []
        shelf.helper = Helper(folder(), results, os.environ.get("USER") or os.environ.get("USERNAME") or "")
    return shelf.helper is not None or shelf.found is not None


def _hear(helper: Helper) -> bool:
    heard = False
    while True:
        try:
            result, error = helper.news.get_nowait()
        except Empty:
            return heard
        heard = True
        if error is None:
            shelf.made += 1
            shelf.failed.pop(result, None)
            ensure_entry()
        else:
            shelf.failed[result] = error
            if error.detail:
                print(f"Espalier: {error.code}: {error.detail}")


def retry() -> None:
    """Have another try at all that is no asset yet, also where it failed before."""
    shelf.seen.difference_update(shelf.failed)
    shelf.failed.clear()
    if account.preferences().asset_library and not bpy.app.background:
        search()


def missing(where: Path) -> list[str]:
    """Return the whole results below `where` that are no assets yet, newest first. Waits for the disk."""
    try:
        with os.scandir(where) as entries:
            names = sorted((entry.name for entry in entries if entry.is_dir()), reverse=True)
    except OSError:
        return []
    return [
        name
        for name in names
        if not name.endswith(".partial")
        and (where / name / "result.json").is_file()
        and not (where / name / FILE).is_file()
    ]


def watch() -> None:
    """See to it that the timer runs."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=STEP_S, persistent=True)


def _tick() -> float | None:
    return STEP_S if step() else None


def _look() -> None:
    """See, some time after the start, which results of earlier times are no assets yet."""
    where = folder()
    if account.preferences().asset_library and where.is_dir():
        ensure_entry()
        search()


def search() -> None:
    """Put all results in line that are no assets yet. The disk is looked at in a thread."""
    if shelf.found is None:
        where, found = folder(), SimpleQueue[list[str]]()
        shelf.found = found
        threading.Thread(target=lambda: found.put(missing(where)), name="library-look", daemon=True).start()
        watch()


def entry() -> bpy.types.UserAssetLibrary | None:
    """Return the asset library of Blender's preferences that shows our folder, whatever it is called."""
    where = folder()
    libraries = bpy.context.preferences.filepaths.asset_libraries
    return next((each for each in libraries if each.path and Path(bpy.path.abspath(each.path)) == where), None)


def ensure_entry() -> None:
    """See to it that Blender's preferences know the library."""
    if account.preferences().asset_library and entry() is None:
        bpy.context.preferences.filepaths.asset_libraries.new(name=NAME, directory=str(folder()))


def remove_entry() -> None:
    """Take the library out of Blender's preferences again; its files stay.

    One that the person has renamed is the person's, and stays as well: it goes on to show what is in the folder.
    """
    found = entry()
    if found is not None and _OURS.fullmatch(found.name):
        bpy.context.preferences.filepaths.asset_libraries.remove(found)


def register() -> None:
    """Look for results that are no assets yet, some time after the start."""
    if not bpy.app.background:
        bpy.app.timers.register(_look, first_interval=LOOK_AFTER_S, persistent=True)


def unregister() -> None:
    """Stop the timers and the other Blender, and leave nothing in Blender's preferences."""
    global shelf
    for timer in (_tick, _look):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    if shelf.helper is not None:
        shelf.helper.stop()
    shelf = Shelf()
    remove_entry()
