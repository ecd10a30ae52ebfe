# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests of the engine may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.jobs.queue import JobQueue
from engine.workers.launch import Launch
from tests.engine.queue_harness import gone, library, open_queue


@pytest.fixture(autouse=True)
def nobodys_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the key, the server and the proxy of whoever runs the tests out of them."""
    for name in ("EMPIRIOLABS_API_KEY", "ESPALIER_API_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        for spelled in (name, name.lower()):
            monkeypatch.delenv(spelled, raising=False)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., JobQueue]]:
    """Open queues, and see that they leave no process and nothing half-made behind."""
    queues: list[JobQueue] = []

    def opened(launch: Launch | None = None, **options: Any) -> JobQueue:
        queues.append(open_queue(tmp_path, launch, **options))
        return queues[-1]

    yield opened
    for queue in queues:
        queue.close()
    assert gone(str(tmp_path))
    assert not [name for name in library(tmp_path) if name.endswith(".partial") or name.startswith(".")]
