# SPDX-License-Identifier: GPL-3.0-or-later
"""What every engine is to the worker that runs it: named stages, and one result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..progress import Run, Stage
from ..request import Request


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
    """An engine inside its worker process. One object lives as long as the worker and runs one job at a time."""

    name: str
    version: str
    stages: tuple[Stage, ...]

    def generate(self, request: Request, folder: Path, run: Run) -> Asset:
        """Make the asset inside `folder`, an empty directory of its own.

        Raises Cancelled, or EspalierError for a failure that a person can meet.
        """
        ...

    def close(self) -> None:
        """Release what is held between jobs."""
        ...
