# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a job still takes, from how far it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

DRAFT_S: Final[Mapping[str, float]] = {"512": 1.4, "1024": 2.5, "1536": 3.6}
"""Seconds that a draft of each resolution took on a machine with two cores, where this one has made none yet."""
MEANINGFUL_S = 1.5
MEANINGFUL_FRACTION = 0.03
_SETTLING_S = 4.0


class Estimate:
    """The remaining seconds of one job, smoothed: weights of stages are guesses, and the fraction moves in jumps.

    The guessed moment of the end is followed with a time constant of a few seconds, so that the figure on screen runs
    down steadily and corrects itself without leaping.
    """

    def __init__(self, start: float, base: float = 0.0) -> None:
        """Begin at `start` (monotonic seconds), when the fraction `base` of the whole was done already."""
        self._start = start
        self._base = base
        self._fraction = base
        self._end: float | None = None
        self._updated = start

    def update(self, now: float, fraction: float) -> None:
        """Note that at `now` (monotonic seconds) the job was at `fraction` of the whole."""
        self._fraction = max(self._fraction, fraction)
        elapsed = now - self._start
        done = (self._fraction - self._base) / max(1.0 - self._base, 1e-9)
        if elapsed < MEANINGFUL_S or done < MEANINGFUL_FRACTION:
            return
        guess = self._start + elapsed / done
        if self._end is None:
            self._end = guess
        else:
            weight = 1.0 - math.exp(-(now - self._updated) / _SETTLING_S)
            self._end += weight * (guess - self._end)
        self._updated = now

    def remaining(self, now: float) -> float | None:
        """Return the seconds left at `now`, never less than 0; None while nothing sensible can be said."""
        if self._end is None:
            return None
        return max(0.0, self._end - now)
