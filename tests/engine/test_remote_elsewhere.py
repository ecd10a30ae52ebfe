# SPDX-License-Identifier: GPL-3.0-or-later
"""A job at one server is not asked after at another, where it would pass for lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.jobs.job import State
from engine.request import GenerationRequest
from tests.engine.queue_harness import drive
from tests.engine.remote_harness import picture
from tests.engine.remote_queue import open_remote
from tests.support.api_server import ApiServer

pytestmark = pytest.mark.once


def test_another_base_url_does_not_lose_a_job(tmp_path: Path) -> None:
    root, shared = tmp_path / "root", tmp_path / "shared"
    with ApiServer(job_s=60.0, scale=60.0) as first, ApiServer(job_s=5.0, scale=60.0) as second:
        queue = open_remote(root, first, shared)
        job = queue.submit(GenerationRequest.create(picture(tmp_path), "remote"))
        drive(queue, until=lambda: bool(queue.job(job).remote_id) and not queue._book.unsettled)
        known = queue.job(job)
        assert known.server == first.account(shared)["base_url"]
        queue.close()

        queue = open_remote(root, second, shared)
        assert [found.state for found in queue.resume()] == [State.RUNNING]
        drive(queue)
        found = queue.job(job)
        assert found.state is State.FAILED
        assert found.error is not None
        assert found.error.code == "remote_elsewhere"
        assert known.server in found.error.remedy
        assert (found.remote_id, found.server) == (known.remote_id, known.server)
        assert not second.requests("GET", "/") + second.requests("POST", "/")
        queue.close()

        queue = open_remote(root, first, shared)
        queue.retry(job)
        drive(queue)
        queue.close()
        assert queue.job(job).state is State.READY
        assert first.billed == 1
        assert second.billed == 0
