# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of environments share: a person's machine, indexes with the packages of a profile, runs of orders."""

from __future__ import annotations

import os
import shutil
import site
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engine.environments import licences
from engine.environments.main import run
from engine.environments.order import Act, Order
from engine.environments.places import Places
from engine.environments.sources import Sources
from engine.environments.status import Condition, Status, status
from engine.environments.task import Task
from engine.environments.tools import unpack_uv
from tests.support.index_server import IndexServer, Offer
from tests.support.tiny_wheels import EXPLICIT, entry, profile_wheels, tool_folder, uv_folder, write_lock
from tests.support.waiting import PATIENCE_S

NEEDS_UV = "uv is not installed beside these tests, and its wheel does not lie in wheels/ (make wheels)"
CLOSED = "http://127.0.0.1:9/simple/"
"""An index at which nobody answers."""


def nothing(*_: object) -> None:
    """Take a report, or look whether anybody still wants it."""


def bundled() -> tuple[Path, ...]:
    """Return the folder with uv's wheel; the test is skipped where there is none."""
    folder = uv_folder()
    if folder is None:
        pytest.skip(NEEDS_UV)
    return (folder,)


def unpacked(places: Places) -> None:
    """Put the program uv into `places` as an earlier installation did; unpacking it takes longer than using it."""
    kept = tool_folder() / "tools"
    if not kept.exists():
        unpack_uv(replace(places, root=kept.parent))
    places.root.mkdir(parents=True)
    shutil.copytree(kept, places.tools, copy_function=os.link)


@dataclass
class House:
    """A folder for environments with the lock of one profile, and the wheels that it lists."""

    folder: Path
    profile: str = "cpu"
    payload: int = 3000
    name: str = "root"
    wheels: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wheels = profile_wheels(self.folder / "wheels", self.profile, payload=self.payload)
        self.places = Places(self.folder / self.name, bundled(), self.folder / "locks")
        unpacked(self.places)
        self.offer, self.own = Offer(), Offer()
        for name, path in self.wheels.items():
            (self.own if name in EXPLICIT else self.offer).add(name, path)

    def lock(self, own: IndexServer | None = None, wheels: dict[str, Path] | None = None) -> None:
        """Write the lock; `own` is the index of the packages that have one of their own."""
        packages = []
        for name, path in (wheels or self.wheels).items():
            source = f"{own.url}{name}/" if own is not None and name in EXPLICIT else "registry"
            packages.append(entry(name, path, source))
        write_lock(self.places.locks, self.profile, packages)

    def accept(self) -> None:
        """Accept all licenses, as a person does."""
        licences.accept(self.places, [item.name for item in licences.needed(self.profile)])

    def run(self, act: Act, index: str, report: Callable[[str, int, int], None] = nothing, **more: object) -> list[str]:
        """Carry out `act` in this process."""
        sources = Sources(index_url=index, **more)  # type: ignore[arg-type]
        return run(Order(act, self.profile), self.places, sources, report, nothing)

    def task(self, act: Act, index: str, **more: object) -> Task:
        """Start `act` in a child."""
        sources = Sources(index_url=index, **more)  # type: ignore[arg-type]
        return Task(Order(act, self.profile), self.places, sources)

    @property
    def status(self) -> Status:
        return status(self.profile, self.places)

    def ready(self) -> bool:
        """Tell whether the environment can be used, and nothing is left lying about."""
        found = self.status
        leftovers = [path.name for path in self.places.root.glob(".*")]
        return found.condition is Condition.READY and found.why is None and not leftovers


def finish(
    task: Task, until: Callable[[Task], bool] = lambda task: task.finished, patience_s: float = PATIENCE_S
) -> Task:
    """Step `task` until it is finished, or until something else is true of it."""
    end = time.monotonic() + patience_s
    while not until(task):
        assert time.monotonic() < end, (task.stage, task.done_bytes, task.total_bytes)
        assert not (task.finished and task.error), task.error and (str(task.error), task.error.detail)
        task.step()
        time.sleep(0.01)
    return task


def machine(*folders: Path) -> dict[str, object]:
    """Return what an installation must not change: PATH, the environment, the person's packages, and `folders`."""
    packages = [Path(folder) for folder in {*site.getsitepackages(), site.getusersitepackages()}]
    return {
        "environment": dict(os.environ),
        "path": list(sys.path),
        **{str(folder): listing(folder) for folder in (*packages, *folders)},
    }


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every file below `folder`, but for compiled modules."""
    found = {}
    for path in folder.rglob("*") if folder.is_dir() else ():
        if "__pycache__" not in path.parts and not path.is_dir():
            told = path.lstat()
            found[str(path.relative_to(folder))] = (told.st_size, told.st_mtime_ns)
    return found
