# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast many jobs can be made at best where only so many requests may be sent in a minute."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

WINDOW_S = 60.0


def least_s(takes_s: Sequence[float], rate: int) -> float:
    """Return the seconds before which no client can know of all results, whatever it foresees.

    Each job needs two requests at least, one that creates it and one that finds it finished, and request n comes a
    window after request n - `rate` at the earliest. So the last of the 2 N requests comes no earlier than floor((2 N -
    1) / rate) windows after the first; and the job that is created as number k, floor(k / rate) windows after it,
    cannot be finished earlier than the k-th of all jobs, longest first, takes.
    """
    count = len(takes_s)
    last = (2 * count - 1) // rate * WINDOW_S
    longest_first = sorted(takes_s, reverse=True)
    return max(last, *(k // rate * WINDOW_S + takes for k, takes in enumerate(longest_first)))


def clairvoyant_s(takes_s: Sequence[float], rate: int) -> float:
    """Return the seconds that a client needs which knows when each job ends: it creates all, then asks once for each.

    This schedule exists, so the best is between `least_s` and this one.
    """
    sent: list[float] = []

    def send(not_before: float) -> float:
        at = max(not_before, sent[-1] if sent else 0.0, sent[-rate] + WINDOW_S if len(sent) >= rate else 0.0)
        sent.append(at)
        return at

    ends: list[float] = []
    for takes in takes_s:
        heapq.heappush(ends, send(0.0) + takes)
    while ends:
        last = send(heapq.heappop(ends))
    return last
