# SPDX-License-Identifier: GPL-3.0-or-later
"""What every engine is to the worker that runs it: named stages, and one result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from ..progress import Run, Stage
from ..request import Request


class JobRun(Run):
    """A run of a job that may be at a server.

    `remote_id` names what the server already works on, empty where nothing was handed over before; `server` says which
    server, in the engine's own words, which it sets before `submitting` and finds again with the id. `account` is plain
    JSON data of whoever may ask the server (see `remote.account`); it holds a secret and is never written anywhere.
    `expected_s` tells for the stages of such jobs how many seconds they took lately, where that is known.
    """

    remote_id: str = ""
    server: str = ""
    account: Mapping[str, Any] = MappingProxyType({})
    expected_s: Mapping[str, float] = MappingProxyType({})

    def submitting(self, digest: str) -> None:
        """Have it written down that a request of this `digest` is about to be sent; return once it is on the disk.

        Raises Cancelled. From here on the outcome is open until `accepted`, `withdrawn` or `ended`.
        """

    def withdrawn(self) -> None:
        """Have it written down that the server has not taken the request, which may be sent again; return once it is.

        Raises Cancelled.
        """

    def accepted(self, remote_id: str) -> None:
        """Have the server's `remote_id` written down; return once it is on the disk. Raises Cancelled."""

    def ended(self) -> None:
        """Note that there is nothing to ask the server after: it has refused the request, or is done with the job.

        To be called before an error is raised because of what the server said (refused, failed, expired, cancelled).
        Without it a job that was accepted is asked after again when a person retries it, and one whose request may
        have been sent has an unknown outcome.
        """


@dataclass(frozen=True, slots=True)
class Asset:
    """What a backend made: a GLB inside the folder it was given, and facts for the person.

    `notices` are sentences about what differs from the request (a lowered resolution, say).
    `facts` is plain JSON data that goes into the result's metadata.
    """

    glb: Path
    thumbnail: Path | None = None
    notices: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """An engine inside its worker process. One object lives as long as the worker.

    It runs one job at a time, unless it has an attribute `jobs_at_once` above 1: then each job has a thread of its own.
    One that can be asked something outside a job has a method `ask` (see `Answering`).
    """

    name: str
    version: str
    stages: tuple[Stage, ...]

    def generate(self, request: Request, folder: Path, run: JobRun) -> Asset:
        """Make the asset inside `folder`, an empty directory of its own.

        Raises Cancelled, or EspalierError for a failure that a person can meet.
        """
        ...

    def close(self) -> None:
        """Release what is held between jobs."""
        ...


class Answering(Protocol):
    """What a backend is besides, if it answers questions; each is asked in a thread of its own, beside the jobs."""

    def ask(
        self,
        question: str,
        account: Mapping[str, Any],
        cancelled: Callable[[], bool],
        about: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Return the answer as plain JSON data. Raises EspalierError, or Cancelled once `cancelled` says so.

        "cancel" is `about` a job's `remote_id` at a `server`, which no worker has: it is to be stopped there.
        """
        ...
