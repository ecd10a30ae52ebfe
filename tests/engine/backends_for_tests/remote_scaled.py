# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote engine with a clock that runs as fast as ESPALIER_TEST_SCALE says, so that tests need not wait.

ESPALIER_TEST_DEATH names a point at which this process, or with ESPALIER_TEST_VICTIM=parent the one that started it,
is killed: the first time that any process passes it, which the file ESPALIER_TEST_DIED tells
(every time where that is empty).
"""

from __future__ import annotations

import os
import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.backends.remote.backend import RemoteBackend


class ScaledClock:
    """Runs `scale` times as fast as the world.

    Nobody sleeps for less than `least_s` seconds of the world: a hundred threads that look about every quarter of a
    fast second would do nothing else.
    """

    def __init__(self, scale: float = 1.0, least_s: float = 0.0) -> None:
        self.scale, self._least_s = scale, least_s

    def now(self) -> float:
        """Return seconds that only ever grow, from the same zero for all processes."""
        return time.monotonic() * self.scale

    def sleep(self, seconds: float) -> None:
        """Wait some of its own seconds."""
        time.sleep(max(seconds / self.scale, self._least_s))


POINTS = (
    *("begin", "before submitting", "after submitting", "before accepted", "after accepted"),
    *("ready", "prepared"),
)
"""Where a process can die: "ready" is once the asset is downloaded, "prepared" once the import is."""


def passing(point: str) -> None:
    """Die if this is the point, and nobody has died here yet."""
    if os.environ.get("ESPALIER_TEST_DEATH") != point:
        return
    if died := os.environ["ESPALIER_TEST_DIED"]:
        try:
            os.close(os.open(died, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    os.kill(os.getppid() if os.environ.get("ESPALIER_TEST_VICTIM") == "parent" else os.getpid(), signal.SIGKILL)
    time.sleep(60)


def around(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
    """Return `act` with a point before it and one behind."""

    def acted(*arguments: Any) -> Any:
        passing(f"before {name}")
        result = act(*arguments)
        passing(f"after {name}")
        return result

    return acted


class Mortal(RemoteBackend):
    """The remote engine, with points to die at."""

    def generate(self, request: Any, folder: Path, run: Any) -> Any:
        passing("begin")
        run.submitting, run.accepted = around("submitting", run.submitting), around("accepted", run.accepted)
        asset = super().generate(request, folder, run)
        passing("ready")
        return asset


def create() -> Any:
    """Return the backend, with the real preparation of the import."""
    scale, least_s = (float(os.environ.get(f"ESPALIER_TEST_{name}", "0")) for name in ("SCALE", "LEAST_S"))
    return Mortal(clock=ScaledClock(scale or 1.0, least_s))


def create_light() -> Any:
    """Return the backend without NumPy: the preparation of the import does nothing."""
    module = types.ModuleType("engine.mesh.prepare")

    def prepare(glb: Path, folder: Path, run: Any = None) -> dict[str, Any]:
        passing("prepared")
        return {"vertices": 3, "faces": 1}

    module.prepare = prepare  # type: ignore[attr-defined]
    sys.modules["engine.mesh.prepare"] = module
    return create()
