# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of array work on several threads; NumPy lets go of Python's lock while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

from ..progress import Run

T = TypeVar("T")
MOST_THREADS = 4
"""More threads need more memory for intermediate arrays and wait for one another."""
POLL_S = 0.2
"""Seconds between two looks at whether the job was cancelled."""


BATCH = 1 << 17
"""Rows of one batch: its intermediate arrays stay in the processor's cache."""


def batches(count: int, size: int = BATCH) -> list[slice]:
    """Return slices that cover `count` rows."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def for_each(
    items: Sequence[T],
    work: Callable[[T], None],
    run: Run | None,
    progress: tuple[float, float] | None = None,
) -> None:
    """Call `work` with each of `items`, several at a time, and return when all are done.

    `progress` is the fraction of the stage before and after, reported on the way. What `work` raises is raised here,
    and so is Cancelled; items that have not begun then never do.
    """
    threads = min(os.cpu_count() or 1, MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        waiting = {pool.submit(work, item) for item in items}
        try:
            while waiting:
                done, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
                for future in done:
                    future.result()
                if run is not None:
                    run.check()
                    if progress is not None:
                        run.progress(progress[1] - (progress[1] - progress[0]) * len(waiting) / len(items))
        finally:
            for future in waiting:
                future.cancel()
