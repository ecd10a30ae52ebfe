# SPDX-License-Identifier: GPL-3.0-or-later
"""What a front was lately told: for how long it is told again, and that a job's end is never taken back."""

from __future__ import annotations

from engine.server.lately import Lately


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_is_good_for_a_while() -> None:
    clock = Clock()
    known = Lately[str](1.0, clock=clock)
    assert known.get("a") is None
    assert known.put("a", "running") == "running"
    clock.now = 0.9
    assert known.get("a") == "running"
    clock.now = 1.0
    assert known.get("a") is None
    known.put("a", "running")
    clock.now = 1.9
    assert known.get("a") == "running", "it is good again from when it was heard again"


def test_the_last_answer_stays_and_a_late_one_does_not_replace_it() -> None:
    clock = Clock()
    known = Lately[str](1.0, clock=clock)
    known.put("a", "ready", forever=True)
    clock.now = 1e6
    assert known.put("a", "running") == "ready", "asked before, answered after"
    assert known.get("a") == "ready"


def test_the_oldest_answers_make_room() -> None:
    known = Lately[int](1.0, most=3, clock=Clock())
    for number in range(3):
        known.put(str(number), number, forever=True)
    known.put("3", 3)
    assert [known.get(str(number)) for number in range(4)] == [None, 1, 2, 3]
