# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C while a command works."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[Callable[[], int]]:
    """Turn Ctrl-C into a question that the loop asks: how often it was pressed.

    Blender's own handler would swallow it.
    """
    asked = 0

    def stop(_signal: int, _frame: object) -> None:
        nonlocal asked
        asked += 1

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: asked
    finally:
        if before is not None:  # None is a handler of Blender's own, which Python cannot put back
            signal.signal(signal.SIGINT, before)
