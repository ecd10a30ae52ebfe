# SPDX-License-Identifier: GPL-3.0-or-later
"""A queue on a disk that is full: a real one, as small as it gets, where a file system may be mounted."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.jobs.job import State
from tests.engine.queue_harness import drive, gone, library, open_queue, request


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 8 MB."""
    place = tmp_path / "小 disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", place], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here; test_worker.py has a full disk in the engine")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(path: Path) -> None:
    """Write zeros to `path` until nothing more fits."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_said_once_and_leaves_nothing(disk: Path) -> None:
    queue = open_queue(disk)
    ready = queue.submit(request("quick"))
    drive(queue)
    assert queue.job(ready).state is State.READY
    filler = disk / "filler"
    fill(filler)
    jobs = [queue.submit(request("quick")) for _ in range(3)]
    drive(queue)
    for job in jobs:
        found = queue.job(job)
        assert found.state is State.FAILED
        assert found.error is not None
        assert found.error.code == "disk_full"
    assert library(disk) == {ready}
    filler.unlink()
    for job in jobs:
        queue.retry(job)
    drive(queue)
    assert all(queue.job(job).state is State.READY for job in jobs)
    queue.close()
    assert gone(str(disk))
    again = open_queue(disk)
    assert {job.id for job in again.jobs()} == {ready, *jobs}
    again.close()
