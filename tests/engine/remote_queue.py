# SPDX-License-Identifier: GPL-3.0-or-later
"""Queues whose remote engine has a fast clock. Imports little, for processes that are started by the dozen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.jobs.queue import JobQueue
from engine.workers.launch import Launch, current_launch
from tests.engine.queue_harness import BACKENDS, ROOT, open_queue

if TYPE_CHECKING:
    from tests.support.api_server import ApiServer


def launch_remote(scale: float, create: str = "create_light", **env: str) -> Launch:
    """Return the launch of a worker with the remote engine and a fast clock."""
    launch = current_launch(ROOT)
    paths = (*launch.paths, str(BACKENDS))
    return replace(
        launch, paths=paths, backend=f"remote_scaled:{create}", env={"ESPALIER_TEST_SCALE": str(scale), **env}
    )


def open_remote(root: Path, server: ApiServer, shared: Path, create: str = "create_light", **options: Any) -> JobQueue:
    """Return a queue in the user folder `root`, as a Blender has one, whose remote engine asks `server`.

    It has the patience for many jobs: see `ScaledClock`.
    """
    account = server.account(shared)
    options = {"account": lambda engine: account, **options}
    return open_queue(root, launch_remote(server.clock.scale, create, ESPALIER_TEST_LEAST_S="0.04"), **options)
