# SPDX-License-Identifier: GPL-3.0-or-later
"""The remaining time is None until it means something, then close, steady and never below zero."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.jobs.estimate import MEANINGFUL_S, Estimate
from engine.jobs.history import RECENT, Timings, cost_usd, expected_s
from engine.jobs.job import Job, State
from engine.request import GenerationRequest
from tests.engine.test_messages import plain

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


def test_what_was_done_before_says_nothing_about_the_speed() -> None:
    estimate = Estimate(1000.0, 0.1)  # after a quarter of an hour in line
    for tick in range(1, 400):
        estimate.update(1000.0 + tick * STEP_S, 0.1 + 0.9 * tick * STEP_S / 40.0)
    left = estimate.remaining(1020.0)
    assert left is not None
    assert abs(left - 20.0) < 0.5


def made(number: int, make_s: object, **fields: Any) -> Job:
    """Return a finished job."""
    result = {"stages": {"submit": 1.0, "make": make_s}, "facts": {}}
    asked = GenerationRequest.create("/a.png", "remote", {"resolution": fields.pop("resolution", "1024")})
    fields = {"runs": 1, "created": float(number), "state": State.READY, "result": result, **fields}
    return Job(f"{number}", asked, **fields)


def test_the_last_jobs_tell_how_long_one_takes() -> None:
    asked = GenerationRequest.create("/b.png", "remote", {"resolution": "1024"})
    old = [made(number, 500.0) for number in range(50)]
    new = [made(100 + number, 30.0 + number) for number in range(RECENT)]
    others = [
        made(200, 1.0, resolution="512"),
        made(201, 1.0, runs=2),
        made(202, 1.0, state=State.FAILED),
        made(203, 1.0, state=State.CANCELLED),
    ]
    assert expected_s([*new, *others, *old], asked) == {"submit": 1.0, "make": 37.0}
    assert expected_s(others, asked) == {}
    assert expected_s([], asked) == {}


def test_jobs_with_the_same_settings_tell_more_than_those_of_the_same_resolution() -> None:
    asked = GenerationRequest.create("/b.png", "remote", {"resolution": "1024"})
    more = GenerationRequest.create("/b.png", "remote", {"resolution": "1024", "texture_size": "4096"})
    timings = Timings.of([made(3, 40.0), made(2, 30.0), made(1, 20.0), made(4, 5.0, resolution="512")])
    took = timings.took(asked)
    assert took is not None
    assert (took.seconds, took.jobs, took.alike) == (31.0, 3, True)
    roughly = timings.took(more)
    assert roughly is not None
    assert (roughly.seconds, roughly.alike) == (31.0, False)
    assert timings.took(GenerationRequest.create("/b.png", "remote", {"resolution": "1536"})) is None
    assert timings.took(GenerationRequest.create("/b.png", "draft", {"resolution": "1024"})) is None
    seed = GenerationRequest.create("/c.png", "remote", {"resolution": "1024", "seed": 7})
    assert timings.took(seed) == took, "another image and seed take as long"


def test_only_what_was_made_in_one_go_is_counted_and_once() -> None:
    timings = Timings()
    kept = {"stages": {"make": 1.0}, "facts": {"stages_kept": ["shape"]}}
    for job in (made(1, 9.0, runs=2), made(2, 9.0, state=State.FAILED), made(3, 9.0, result=kept), made(4, 0.0)):
        timings.add(job)
    first = made(5, 9.0)
    assert timings.took(first.request) == Timings.of([made(4, 0.0)]).took(first.request)
    for job in (first, first, made(6, 19.0), first):
        timings.add(job)
    earlier = Timings.of([first, *(made(10 + number, 99.0) for number in range(RECENT))])
    timings.precede(earlier)
    took = timings.took(first.request)
    assert took is not None
    assert took.jobs == RECENT
    for number in range(RECENT - 2):
        timings.add(made(30 + number, 4.0))
    took = timings.took(first.request)
    assert took is not None
    assert took.seconds == 5.0, "the newest count, those of this session after those of earlier ones"


@given(plain, plain, plain)
def test_nonsense_in_results_is_no_harm(stages: Any, facts: Any, seconds: Any) -> None:
    asked = GenerationRequest.create("/b.png", "remote", {"resolution": "1024"})
    for result in ({"stages": stages, "facts": facts}, {"stages": {"make": seconds}, "facts": {"cost_usd": facts}}):
        told = expected_s([made(1, 1.0, result=result)], asked)
        assert all(value >= 0.0 and math.isfinite(value) for value in told.values())
        assert 0.0 <= cost_usd(result) < math.inf
        took = Timings.of([made(1, 1.0, result=result)]).took(asked)
        assert took is None or 0.0 < took.seconds < math.inf


def test_a_job_that_overruns_is_due_now() -> None:
    estimate = Estimate(0.0)
    estimate.update(10.0, 0.9)
    assert estimate.remaining(60.0) == 0.0
