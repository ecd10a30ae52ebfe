# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for TRELLIS.2's Python package: the names and calls that the CUDA engine uses, on tiny random tensors.

What is called is noted in `calls`; `watchers` are called with the name of each model that runs, and may raise.
`STANDIN_FAULT` in the environment, "hang:NAME" or "crash:NAME", does that in the model called NAME.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

calls: list[tuple[str, dict[str, Any]]] = []
watchers: list[Callable[[str], None]] = []


def note(name: str, **given: Any) -> None:
    """Remember that `name` was called."""
    calls.append((name, given))


def running(name: str) -> None:
    """Tell the watchers that the model `name` runs."""
    kind, _, fault = os.environ.get("STANDIN_FAULT", "").partition(":")
    if fault == name:
        if kind == "crash":
            os._exit(139)
        while kind == "hang":
            time.sleep(1)
    for watcher in watchers:
        watcher(name)
