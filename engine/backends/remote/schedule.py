# SPDX-License-Identifier: GPL-3.0-or-later
"""When to ask again: clocks, back-off, Retry-After, the circuit, and the plan of polling many jobs on one budget."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol

from ...offer import to_number

POLL_S = 5.0
"""Seconds between two polls of a job where the budget allows it."""
SLICE_S = 0.25
"""Longest time between two looks at whether the job is to stop, in seconds of the world."""
BACKOFF_BASE_S, BACKOFF_CAP_S = 1.0, 60.0
RETRY_AFTER_CAP_S = 600.0
SCOUTS = 2
"""How many jobs are polled often while nobody knows how long they take."""


class Clock(Protocol):
    """Seconds that only ever grow, from one zero for all processes of a machine, and waiting in them.

    One that runs faster than the world tells by how much in an attribute `scale`.
    """

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's monotonic clock, which setting the time of day does not move."""

    def now(self) -> float:
        """Return seconds since the machine started."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(seconds, 0.0))


def wait(clock: Clock, seconds: float, check: Callable[[], None]) -> None:
    """Wait `seconds` of `clock`, calling `check` all the while, which may raise."""
    until = clock.now() + seconds
    longest = SLICE_S * getattr(clock, "scale", 1.0)
    check()
    while (left := until - clock.now()) > 0.0:
        clock.sleep(min(left, longest))
        check()


def backoff(attempt: int, randomness: Callable[[], float] = random.random) -> float:
    """Return how many seconds to wait after failure number `attempt` (0 is the first): exponential, full jitter."""
    return randomness() * min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 16))


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, from a number or an HTTP date, or None.

    `now` is the time of day in seconds since 1970, by which a date is read. Unreasonable values are cut to ten minutes.
    """
    if not value:
        return None
    seconds = to_number(value.strip())
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now)
        except (TypeError, ValueError, OverflowError, IndexError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_CAP_S)


class Circuit:
    """What this process knows of a server's health: open after `threshold` failures in a row, for a while.

    While it is open nothing is sent; then one request tries, and others wait for what becomes of it.
    """

    def __init__(self, clock: Clock, threshold: int = 8, shortest_s: float = 15.0, longest_s: float = 120.0) -> None:
        self._clock, self._threshold = clock, threshold
        self._shortest, self._longest = shortest_s, longest_s
        self._lock = threading.Lock()
        self._until = 0.0
        self.failures = 0
        self.has_worked = False
        """Whether the server has ever answered this process: then it is there, and worth waiting for."""

    def left(self) -> float:
        """Return for how many seconds nothing is to be sent; 0 lets the caller send, and be the one who tries."""
        with self._lock:
            if self.failures < self._threshold:
                return 0.0
            left = self._until - self._clock.now()
            if left > 0.0:
                return left
            self._until = self._clock.now() + self._shortest
            return 0.0

    @property
    def rest(self) -> float:
        """For how many seconds nothing is to be sent; asking changes nothing."""
        with self._lock:
            return max(self._until - self._clock.now(), 0.0) if self.failures >= self._threshold else 0.0

    def failed(self) -> None:
        """Count a failure of the server: no answer, or one of status 500 and above."""
        with self._lock:
            self.failures += 1
            if self.failures >= self._threshold:
                rounds = min((self.failures - self._threshold) // 2, 8)
                self._until = self._clock.now() + min(self._longest, self._shortest * 2.0**rounds)

    def succeeded(self) -> None:
        """Note that the server answers."""
        with self._lock:
            self.failures = 0
            self.has_worked = True
            self._until = 0.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """The jobs that share a budget of `per_minute` requests: how many, and how many of them are older than this one."""

    jobs: int = 1
    older: int = 0
    per_minute: int = 50

    @property
    def share_s(self) -> float:
        """Seconds between two polls of one job if the whole budget went to polls, one job after the other."""
        return self.jobs * 60.0 / self.per_minute


def due(born: float, polled: float, polls: int, crowd: Crowd, expected_s: float | None) -> float:
    """Return when to poll a job next, on the clock of `born`, its creation, and `polled`, its last poll or creation.

    A few jobs are polled every `POLL_S`. Where the budget does not allow that, requests are saved for when they tell
    something: all wait until they are probably done, which the oldest find out for the others.
    """
    if crowd.share_s <= POLL_S:
        return polled + POLL_S
    if expected_s is not None:
        likely = born + expected_s
        if polls == 0 or polled < likely:
            return max(likely, born + POLL_S if polls == 0 else polled + POLL_S)
        late = 0.1 * (polled - born)
        return polled + max(POLL_S, min(late, crowd.share_s))
    if crowd.older < SCOUTS:
        return polled + max(POLL_S, crowd.share_s / 5.0)
    return polled + 2.0 * crowd.share_s


def quantile(values: list[float], share: float) -> float | None:
    """Return the value below which `share` of `values` lie, or None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
