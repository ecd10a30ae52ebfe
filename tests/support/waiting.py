# SPDX-License-Identifier: GPL-3.0-or-later
"""How tests wait for what must come."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 300.0
"""Long: the machines that run tests are shared. Nothing waits for it that goes well."""


def wait_for(
    condition: Callable[[], object],
    pause_s: float = 0.01,
    *,
    told: Callable[[], object] = lambda: "waited in vain",
) -> None:
    """Wait until `condition` says so, asking every `pause_s`; fail with what `told` returns where it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(pause_s)
