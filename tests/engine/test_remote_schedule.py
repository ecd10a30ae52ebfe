# SPDX-License-Identifier: GPL-3.0-or-later
"""When to ask: back-off, Retry-After, the circuit and the plan of polls, on a clock of our own."""

from __future__ import annotations

import itertools
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.backends.remote.schedule import (
    BACKOFF_CAP_S,
    POLL_S,
    RETRY_AFTER_CAP_S,
    Circuit,
    Crowd,
    SystemClock,
    backoff,
    due,
    quantile,
    retry_after,
    wait,
)
from engine.progress import Cancelled
from tests.engine.remote_harness import Hand, nothing


def test_the_systems_clock_only_grows() -> None:
    clock = SystemClock()
    before = clock.now()
    clock.sleep(0.01)
    clock.sleep(-5.0)
    assert clock.now() >= before + 0.009


def test_waiting_looks_often_whether_anybody_still_waits() -> None:
    clock = Hand()
    calls = itertools.count()

    def check() -> None:
        if next(calls) == 8:
            raise Cancelled

    with pytest.raises(Cancelled):
        wait(clock, 3600.0, check)
    assert clock.time < 1003.0
    wait(clock, 7.0, nothing)
    assert max(clock.slept) <= 0.25


@given(st.integers(0, 10_000), st.floats(0.0, 1.0, exclude_max=True))
def test_the_back_off_grows_with_full_jitter(attempt: int, chance: float) -> None:
    assert 0.0 <= backoff(attempt, lambda: chance) <= BACKOFF_CAP_S
    assert backoff(attempt, lambda: 0.0) == 0.0
    assert backoff(attempt, lambda: 0.5) == 0.5 * min(2.0 ** min(attempt, 16), BACKOFF_CAP_S)


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after("7") == 7.0
    assert retry_after(" 0.5 ") == 0.5
    assert retry_after("-3") == 0.0
    assert retry_after("1e9") == RETRY_AFTER_CAP_S
    assert retry_after(formatdate(5030.0, usegmt=True), now=5000.0) == 30.0
    assert retry_after(formatdate(4000.0, usegmt=True), now=5000.0) == 0.0
    assert retry_after("Sunday, 06-Nov-94 08:49:37 GMT", now=784111770.0) == 7.0
    for text in (None, "", "soon", "nan", "Mon, 99 Foo 2026"):
        assert retry_after(text) is None


@given(st.text(max_size=40))
def test_any_retry_after_is_read(text: str) -> None:
    seconds = retry_after(text, now=0.0)
    assert seconds is None or 0.0 <= seconds <= RETRY_AFTER_CAP_S


def test_the_circuit_opens_after_failures_in_a_row_and_lets_one_try() -> None:
    clock = Hand()
    circuit = Circuit(clock, threshold=3, shortest_s=10.0, longest_s=40.0)
    for _ in range(2):
        circuit.failed()
        assert circuit.left() == 0.0
    circuit.succeeded()
    for _ in range(3):
        circuit.failed()
    assert circuit.rest == 10.0
    assert circuit.left() == 10.0
    clock.time += 10.0
    assert circuit.left() == 0.0, "one tries"
    assert circuit.left() == 10.0, "the others wait for what becomes of it"
    for _ in range(20):
        circuit.failed()
    assert circuit.left() == 40.0
    circuit.succeeded()
    assert circuit.left() == 0.0
    assert circuit.rest == 0.0


def test_a_few_jobs_are_polled_every_few_seconds() -> None:
    assert due(0.0, 0.0, 0, Crowd(), None) == POLL_S
    assert due(0.0, 50.0, 9, Crowd(4), 300.0) == 50.0 + POLL_S


def test_many_jobs_wait_until_they_are_probably_done() -> None:
    crowd = Crowd(100, older=50)
    assert crowd.share_s == 120.0
    assert due(0.0, 0.0, 0, crowd, 80.0) == 80.0
    assert due(0.0, 30.0, 1, crowd, 80.0) == 80.0
    assert due(0.0, 0.0, 0, crowd, 1.0) == POLL_S
    assert due(0.0, 100.0, 2, crowd, 80.0) == 110.0
    assert due(0.0, 0.0, 0, crowd, None) == 240.0
    assert due(0.0, 0.0, 0, Crowd(100, older=1), None) == 24.0, "the oldest find out for the others"


@given(
    st.floats(0.0, 1e4), st.floats(0.0, 1e4), st.integers(0, 50), st.integers(1, 500), st.integers(0, 499),
    st.none() | st.floats(0.0, 1e4), st.integers(1, 500),
)  # fmt: skip
def test_no_job_is_polled_too_soon_or_never(
    born: float, age: float, polls: int, jobs: int, older: int, expected: float | None, rate: int
) -> None:
    polled = born if polls == 0 else born + age
    crowd = Crowd(jobs, older, rate)
    moment = due(born, polled, polls, crowd, expected)
    assert moment >= polled + POLL_S - 1e-6 or polls == 0
    assert moment >= born + POLL_S - 1e-6
    assert moment <= polled + 2.0 * crowd.share_s + POLL_S + (expected or 0.0) + 1e-6


@given(st.lists(st.floats(0, 1e6), max_size=30), st.floats(0.0, 1.0))
def test_a_quantile_is_one_of_the_values(values: list[float], share: float) -> None:
    value = quantile(values, share)
    assert value in values if values else value is None
