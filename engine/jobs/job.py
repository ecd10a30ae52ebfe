# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of a job and the moves between them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EspalierError
from ..request import Request


class State(enum.StrEnum):
    """Where a job is. A state is written to the ledger before the act that it announces."""

    QUEUED = "queued"
    """Waiting for a worker."""
    SUBMITTING = "submitting"
    """About to be handed to the worker, and by a remote engine to its server."""
    RUNNING = "running"
    """The worker has it."""
    FETCHING = "fetching"
    """The result is being brought into the library."""
    READY = "ready"
    """The result is in the library, whole."""
    IMPORTED = "imported"
    """The result has been placed in a scene, or written where a command asked for it."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """It was being handed over when contact was lost; it may have been carried out, and billed."""


MOVES: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.SUBMITTING, State.CANCELLED, State.FAILED}),
    State.SUBMITTING: frozenset(
        {State.RUNNING, State.QUEUED, State.FETCHING, State.FAILED, State.CANCELLED, State.UNKNOWN}
    ),
    State.RUNNING: frozenset(
        {State.RUNNING, State.FETCHING, State.QUEUED, State.FAILED, State.CANCELLED, State.UNKNOWN}
    ),
    State.FETCHING: frozenset({State.READY, State.QUEUED, State.RUNNING, State.FAILED, State.CANCELLED, State.UNKNOWN}),
    State.READY: frozenset({State.IMPORTED, State.FAILED}),
    State.IMPORTED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
    State.UNKNOWN: frozenset({State.QUEUED, State.RUNNING, State.FAILED}),
}
"""Which states may follow which. Anything to queued is a retry or a resume; running to running writes down what became
known of a job at a server, or takes it up again. Undoing an import is a matter of the file, not of the job."""

ACTIVE = frozenset({State.QUEUED, State.SUBMITTING, State.RUNNING, State.FETCHING})
"""States in which the queue still has something to do."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as last known: what was asked, where it is, and what came of it. Times are seconds since 1970 (UTC).

    `placement` is plain JSON data of whoever submitted the job; the engine stores it and never looks inside.
    `fraction`, `stage`, `label`, `note`, `remaining_s` and `cancelling` (asked to stop, not stopped yet) are of the
    moment and are not in the ledger.
    `digest` is that of the request that was, or was about to be, sent to `server`; `remote_id` is what that server
    calls the job, empty where there is nothing that it could be asked after. `spent` is what is known to have been
    billed for it in all its runs, in USD.
    `rank` is its place in the line of those that wait, the lowest first. `cleared` tells that a person wants to see it
    no more.
    `attempts` counts how often it was handed over since it was last asked for, `runs` how often in all.
    `folder` holds the result once the job is ready: `asset.glb`, `thumbnail.png`, `request.json`, `result.json`.
    """

    id: str
    request: Request
    state: State
    placement: Mapping[str, Any] = field(default_factory=dict)
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    attempts: int = 0
    runs: int = 0
    folder: Path | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    error: EspalierError | None = None
    remote_id: str = ""
    digest: str = ""
    server: str = ""
    spent: float = 0.0
    rank: float = 0.0
    cleared: bool = False
    stage: str = ""
    label: str = ""
    note: str = ""
    fraction: float = 0.0
    remaining_s: float | None = None
    cancelling: bool = False

    @property
    def active(self) -> bool:
        """Whether the queue still has something to do for it."""
        return self.state in ACTIVE

    @property
    def turn(self) -> tuple[float, float, str]:
        """What the jobs that wait are sorted by: whose turn comes first is first."""
        return self.rank, self.created, self.id
