# SPDX-License-Identifier: GPL-3.0-or-later
"""The remaining time is None until it means something, then close, steady and never below zero."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.jobs.estimate import MEANINGFUL_S, Estimate

STEP_S = 0.05


def test_steady_work_is_foretold() -> None:
    estimate = Estimate(100.0)
    for tick in range(1, 600):
        now = 100.0 + tick * STEP_S
        estimate.update(now, tick * STEP_S / 30.0)
        left = estimate.remaining(now)
        if now < 100.0 + MEANINGFUL_S - STEP_S:
            assert left is None
        elif now > 100.0 + MEANINGFUL_S + STEP_S:
            assert left is not None
            assert abs(left - (130.0 - now)) < 0.5


def test_nothing_is_said_of_a_job_that_has_hardly_begun() -> None:
    estimate = Estimate(0.0)
    estimate.update(600.0, 0.01)
    assert estimate.remaining(600.0) is None


def test_a_stage_that_goes_slower_than_thought_is_followed() -> None:
    estimate = Estimate(0.0)
    now = 0.0
    for tick in range(1, 1200):  # 10 s for the first half, 50 s for the second
        now = tick * STEP_S
        estimate.update(now, now / 20 if now < 10 else 0.5 + (now - 10) / 100)
    left = estimate.remaining(now)
    assert left is not None
    assert left < 8  # of 0.05 s; a plain rule of three would still be right only at the very end


@given(st.lists(st.tuples(st.floats(0.01, 2.0), st.floats(0.0, 1.0)), min_size=5, max_size=80))
def test_the_figure_is_steady_and_never_negative(steps: list[tuple[float, float]]) -> None:
    estimate = Estimate(0.0)
    now, last, fraction = 0.0, None, 0.0
    for pause, share in steps:
        now += pause
        fraction += (1.0 - fraction) * share * 0.2
        estimate.update(now, fraction)
        left = estimate.remaining(now)
        if left is None:
            assert last is None
            continue
        assert left >= 0.0
        if last is not None:
            guess = max(0.0, now / fraction - now)
            low, high = sorted((max(0.0, last - pause), guess))
            assert low - 1e-6 <= left <= high + 1e-6  # between where it was heading and what is now known
        last = left


def test_a_job_that_overruns_is_due_now() -> None:
    estimate = Estimate(0.0)
    estimate.update(10.0, 0.9)
    assert estimate.remaining(60.0) == 0.0
