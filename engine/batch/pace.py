# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a batch goes, and how long it still takes."""

from __future__ import annotations

from collections import deque

LEAST = 2
"""Assets before anything is said: the first waits for its worker to start."""
RECENT = 40
"""Assets that the pace is taken from: what has just been, as images differ and other programs come and go."""


class Pace:
    """Begin at `start` (monotonic seconds)."""

    def __init__(self, start: float) -> None:
        self._ends: deque[float] = deque([start], maxlen=RECENT + 1)

    def note(self, now: float) -> None:
        """Note that an asset came to its end at `now`."""
        self._ends.append(now)

    def rate(self) -> float | None:
        """Return the assets a second; None while there have been too few."""
        span = self._ends[-1] - self._ends[0]
        return (len(self._ends) - 1) / span if len(self._ends) > LEAST and span > 0 else None

    def remaining_s(self, left: int, now: float) -> float | None:
        """Return the seconds that `left` assets take, less those since the last one; None if nothing can be said."""
        rate = self.rate()
        if rate is None:
            return None
        remaining = left / rate - (now - self._ends[-1])
        return remaining if remaining > 0 else None


def duration(seconds: float) -> str:
    """Return a time as a person says it: 8 s, 4 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
