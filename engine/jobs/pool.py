# SPDX-License-Identifier: GPL-3.0-or-later
"""The workers of a queue: as many of each engine as it has slots, kept warm for a while without a job."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..workers.log import Log
from ..workers.process import Launch, Limits, Worker

SLOTS: Mapping[str, int] = {"draft": 1, "trellis2": 1, "remote": 128}
"""How many jobs of an engine run side by side: one where they share a GPU or all cores, many where others work."""
ROOM: Mapping[str, int] = {"remote": 64}
"""How many jobs of an engine one worker has at a time; one where nothing else is said."""

_ENDING_STEP_S = 0.01


class Pool:
    """Workers by engine. `root` is the user folder, `launch` says how a worker of an engine is started."""

    def __init__(
        self,
        root: Path,
        launch: Callable[[str], Launch],
        slots: Mapping[str, int] | None,
        room: Mapping[str, int] | None,
        idle_s: float,
        limits: Limits,
    ) -> None:
        self._root = root
        self._launch = launch
        self._slots = {**SLOTS, **(slots or {})}
        self._room = {**ROOM, **(room or {})}
        self._idle_s = idle_s
        self._limits = limits
        self._logs: dict[str, Log] = {}
        self._workers: list[Worker] = []
        self._reserved: dict[str, Worker] = {}

    @property
    def workers(self) -> tuple[Worker, ...]:
        """All workers whose process has not ended, as far as is known."""
        return tuple(self._workers)

    def log(self, engine: str) -> Log:
        """Return the log that the workers of `engine` share."""
        return self._logs.setdefault(engine, Log(self._root / "logs" / f"{engine}.log"))

    def reserve(self, engine: str, job: str) -> bool:
        """Set a worker aside for `job`, a new one if need be and there is a slot. Raises EspalierError of `launch`."""
        workers = [worker for worker in self._workers if worker.engine == engine]
        promised = list(self._reserved.values())
        slots, room = self._slots.get(engine, 1), self._room.get(engine, 1)
        if sum(len(worker.jobs) + promised.count(worker) for worker in workers) >= slots:
            return False
        for worker in workers:
            if worker.spare(job) > promised.count(worker):
                self._reserved[job] = worker
                return True
        # A worker that is being ended still holds its memory, and its slots with it.
        if len(workers) >= -(-slots // room):
            return False
        self._reserved[job] = self._start(engine)
        return True

    def anyone(self, engine: str) -> Worker:
        """Return a worker that can be asked something, a new one if there is none. Raises EspalierError of `launch`."""
        found = next((worker for worker in self._workers if worker.engine == engine and worker.open), None)
        return found or self._start(engine)

    def take(self, job: str) -> Worker | None:
        """Return the worker that was set aside for `job`, if one was, and set it aside no longer."""
        return self._reserved.pop(job, None)

    def forget(self, worker: Worker) -> None:
        """Strike a worker off that has ended."""
        self._workers.remove(worker)

    def of(self, job: str) -> Worker | None:
        """Return the worker that has `job`."""
        return next((worker for worker in self._workers if job in worker.jobs), None)

    def let_go(self) -> None:
        """Ask workers that have been idle for long to end."""
        now = time.monotonic()
        for worker in self._idle():
            if now - worker.idle_since >= self._idle_s:
                worker.stop()

    def retire(self, engine: str) -> None:
        """Give the workers of `engine` nothing more, but what was promised to them; each ends once it is idle."""
        promised = self._reserved.values()
        for worker in self._workers:
            if worker.engine == engine and worker not in promised:
                worker.retire()

    def idle_left_s(self) -> float | None:
        """Return the seconds until the next worker is let go; None if none is idle."""
        now = time.monotonic()
        return min((worker.idle_since + self._idle_s - now for worker in self._idle()), default=None)

    def end(self, timeout_s: float) -> None:
        """End all workers, waiting for that: idle ones may take their leave, those that work are killed."""
        for worker in self._workers:
            if worker.idle:
                worker.stop()
            else:
                worker.kill()
        deadline = time.monotonic() + timeout_s
        while self._workers:
            for worker in self.workers:
                worker.watch()
                while worker.receive() is not None:
                    pass
                if worker.ended:
                    self.forget(worker)
            if time.monotonic() > deadline:
                for worker in self._workers:
                    worker.kill()
                return
            time.sleep(_ENDING_STEP_S)

    def _idle(self) -> Iterator[Worker]:
        return (worker for worker in self._workers if worker.idle and worker not in self._reserved.values())

    def _start(self, engine: str) -> Worker:
        slots, room = self._slots.get(engine, 1), self._room.get(engine, 1)
        threads = max(1, (os.cpu_count() or 1) // slots)
        bytecode = self._root / "cache" / "bytecode"
        launch, log = self._launch(engine), self.log(engine)
        worker = Worker(engine, launch, log, self._limits, bytecode, threads, min(slots, room))
        self._workers.append(worker)
        return worker
