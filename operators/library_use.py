# SPDX-License-Identifier: GPL-3.0-or-later
"""How much the library takes, and what of it may go: what no open file, no unfinished job and no other Blender uses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import bpy

from ..engine.errors import EspalierError
from ..engine.files import unwritable
from ..engine.words import size_words
from . import account, library, session
from .languages import msgid
from .scene.placement import read_properties

if TYPE_CHECKING:
    from ..engine.jobs.upkeep import Result

DAY_S = 86400.0
STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """How many results there are, their bytes, and how many with how many bytes the preferences would let go."""

    count: int = 0
    size: int = 0
    surplus: int = 0
    surplus_size: int = 0


@dataclass(slots=True)
class State:
    """`usage` is what was measured last, `told` what was last cleaned up, `answer` will hold what is measured now."""

    usage: Usage | None = None
    told: str = ""
    error: EspalierError | None = None
    answer: SimpleQueue[tuple[Usage | None, str, EspalierError | None]] | None = None

    @property
    def working(self) -> bool:
        """Whether a thread measures or removes."""
        return self.answer is not None


state = State()


def used_here() -> set[str]:
    """Return the jobs whose folders the open file needs, linked data and the sources of rebuilds included."""
    home = library.folder()
    found = set()
    for item in bpy.data.objects:
        properties = read_properties(item)
        found.add(str(properties.get("job", "")))
        found.update(below(home, str(properties.get("source", ""))))
    for block in (*bpy.data.libraries, *bpy.data.images, *bpy.data.cache_files, *bpy.data.volumes):
        found.update(below(home, bpy.path.abspath(block.filepath, library=block.library)))
    return found - {""}


def below(home: Path, path: str) -> Iterator[str]:
    """Yield the name of the result that holds the file `path`, if one does."""
    try:
        yield Path(path).relative_to(home).parts[0]
    except (ValueError, IndexError):
        return


def measure() -> None:
    """See how much the library takes and what may go, in a thread."""
    _begin(remove=False)


def clean_up() -> None:
    """Remove what may go, in a thread; then measure. Raises EspalierError `library_shared` or `output_unwritable`."""
    from ..engine.jobs.upkeep import others

    root = session.user_folder()
    try:
        if others(root / "owners", int(session.session.queue is not None)):
            raise EspalierError("library_shared")
    except OSError as error:
        raise unwritable(root, error) from error
    _begin(remove=True)


def _begin(remove: bool) -> None:
    if state.working:
        return
    chosen = account.preferences()
    before = time.time() - chosen.library_keep_days * DAY_S if chosen.library_keep_days else 0.0
    work = _Work(library.folder(), session.user_folder() / session.LEDGER, used_here(), before, chosen.library_keep_gb)
    state.answer = answer = SimpleQueue()
    threading.Thread(target=lambda: answer.put(work.do(remove)), name="library-use", daemon=True).start()
    if bpy.app.background:
        while not step():
            time.sleep(0.01)
    elif not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=STEP_S, persistent=True)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a thread does; it touches no Blender. `before` is in seconds since 1970, `most` in GB, 0 for no limit."""

    folder: Path
    ledger: Path
    used: set[str]
    before: float
    most: float

    def do(self, remove: bool) -> tuple[Usage | None, str, EspalierError | None]:
        """Return what is there afterwards, what is to be told, and what went wrong."""
        from ..engine.jobs import upkeep

        told = ""
        try:
            if not self.folder.is_dir():
                return Usage(), told, None
            results, surplus = self._look()
            if remove:
                freed = upkeep.discard(self.folder, [each.job for each in surplus])
                count, size = f"{len(surplus):,}", size_words(freed)
                told = msgid("{count} results removed, {size} freed").format(count=count, size=size)
                results, surplus = self._look()
            sizes = (sum(each.size for each in group) for group in (results, surplus))
            return Usage(len(results), next(sizes), len(surplus), next(sizes)), told, None
        except EspalierError as error:
            return None, told, error
        except OSError as error:
            return None, told, unwritable(self.folder, error)

    def _look(self) -> tuple[list[Result], list[Result]]:
        from ..engine.jobs import upkeep

        results = upkeep.measure(self.folder)
        needed = self.used | upkeep.wanted(self.ledger, self.folder)
        return results, upkeep.surplus(results, needed, self.before, int(self.most * 1e9))


def step() -> bool:
    """Take what the thread has found, if it has; tell whether nothing is under way."""
    if state.answer is None:
        return True
    if state.answer.empty():
        return False
    usage, told, state.error = state.answer.get()
    state.answer = None
    state.usage = usage or state.usage
    state.told = told or state.told
    session.redraw()
    return True


def _tick() -> float | None:
    return None if step() else STEP_S


def unregister() -> None:
    """Stop the timer and forget what was measured."""
    global state
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    state = State()
