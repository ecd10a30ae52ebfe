# SPDX-License-Identifier: GPL-3.0-or-later
"""What was lately heard, so that it need not be asked for again at once."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_MOST = 10_000


class Lately(Generic[T]):
    """Answers by name that are good for `fresh_s` seconds, or for as long as there is room. It belongs to one thread.

    Of more than `most` those go that were put in longest ago.
    """

    def __init__(self, fresh_s: float, most: int = _MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh_s, self._most, self._clock = fresh_s, most, clock
        self._answers: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, name: str) -> T | None:
        """Return the answer, None where there is none that is still good."""
        until, answer = self._answers.get(name, (-math.inf, None))
        return answer if self._clock() < until else None

    def put(self, name: str, answer: T, *, forever: bool = False) -> T:
        """Keep an answer, and return it. One that was kept `forever` stays, whatever comes after it."""
        if (kept := self._answers.get(name)) is not None and kept[0] == math.inf:
            return kept[1]
        self._answers[name] = (math.inf if forever else self._clock() + self._fresh_s, answer)
        self._answers.move_to_end(name)
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
        return answer
