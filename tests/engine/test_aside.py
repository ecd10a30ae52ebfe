# SPDX-License-Identifier: GPL-3.0-or-later
"""A function carried out in a process beside this one gives the same, ends when cancelled, and may crash alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine.errors import EspalierError
from engine.mesh.aside import Aside
from engine.mesh.simplify import simplify
from engine.mesh.unwrap import unwrap
from engine.progress import Cancelled, Run, Stage
from tests.support.shapes import bumpy_sphere

STAGE = Stage("work", "Working", 1.0)


def doubled(values: np.ndarray, run: Run | None = None) -> np.ndarray:
    return 2 * values


def refusing(run: Run | None = None) -> None:
    raise EspalierError("unwrap_parts", parts="7", size=64)


def counting(run: Run) -> int:
    for part in range(5):
        run.progress(part / 4)
        time.sleep(0.06)
    return 5


def sleeping(run: Run | None = None) -> None:
    time.sleep(60)


def noisy(run: Run | None = None) -> str:
    print("printed by Python")
    os.write(1, b"printed by a library\n" * 1000)
    sys.stdout.flush()
    return "heard"


def exiting(run: Run | None = None) -> None:
    os._exit(3)


def raising(run: Run | None = None) -> None:
    raise ZeroDivisionError


def killed(run: Run | None = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def out_of_memory(run: Run | None = None) -> None:
    raise MemoryError


def own_id(run: Run | None = None) -> int:
    return os.getpid()


@pytest.fixture
def aside() -> Iterator[Aside]:
    with Aside(simplify) as aside:
        yield aside


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_result_is_that_of_this_process_call_after_call(aside: Aside) -> None:
    positions, faces = bumpy_sphere(5)
    here, there = simplify(positions, faces, 3000), aside.call(simplify, positions, faces, 3000)
    for one, two in zip(here, there, strict=True):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)
    flat, other = unwrap(*here, texture_size=256), aside.call(unwrap, *there, None, 256)
    assert type(other) is type(flat)
    assert np.array_equal(flat.uvs, other.uvs)
    assert np.array_equal(flat.faces, other.faces)
    large = np.arange(5_000_000)
    assert np.array_equal(aside.call(doubled, large), 2 * large)


def test_an_error_for_a_person_crosses_and_more_calls_may_follow(aside: Aside) -> None:
    with pytest.raises(EspalierError) as caught:
        aside.call(refusing)
    assert caught.value.code == "unwrap_parts"
    assert caught.value.to_json() == EspalierError("unwrap_parts", parts="7", size=64).to_json()
    with pytest.raises(MemoryError):
        aside.call(out_of_memory)
    assert aside.call(doubled, np.ones(1)) == 2


def test_progress_is_told_to_the_run(aside: Aside) -> None:
    seen: list[float] = []
    run = Run((STAGE,), lambda progress: seen.append(progress.fraction))
    with run.stage("work"):
        assert aside.call(counting, run=run) == 5
    assert seen == sorted(seen)
    assert {0.25, 0.5, 0.75} & set(seen), "not only the end; on a full machine one may hide another"


def test_cancelling_ends_the_process_at_once() -> None:
    asked: list[float] = []

    def cancelled() -> bool:
        if time.monotonic() - began > 0.3 and not asked:
            asked.append(time.monotonic())
        return bool(asked)

    def cancel_within() -> None:
        with Aside() as aside:
            process.append(aside.call(own_id))
            clock()
            aside.call(sleeping, run=Run((STAGE,), lambda progress: None, cancelled))

    def clock() -> None:
        nonlocal began
        began = time.monotonic()

    process: list[int] = []
    began = time.monotonic() + 60
    with pytest.raises(Cancelled):
        cancel_within()
    assert time.monotonic() - asked[0] < 10
    assert not is_alive(process[0])


@pytest.mark.parametrize(
    ("function", "error"), [(exiting, RuntimeError), (raising, RuntimeError), (killed, MemoryError)]
)
def test_a_crash_is_an_error_here(aside: Aside, function: Any, error: type[Exception]) -> None:
    process = aside.call(own_id)
    began = time.monotonic()
    with pytest.raises(error):
        aside.call(function)
    assert time.monotonic() - began < 20
    assert not is_alive(process)
    with pytest.raises((RuntimeError, MemoryError)):
        aside.call(own_id)


def test_what_a_library_prints_is_no_answer(aside: Aside) -> None:
    assert aside.call(noisy) == "heard"
    assert aside.call(doubled, np.ones(1)) == 2


def test_it_ends_with_its_context_and_with_an_error_in_it() -> None:
    with Aside() as aside:
        process = aside.call(own_id)
        assert process != os.getpid()
    assert not is_alive(process)
    with pytest.raises(EspalierError), Aside() as other:
        other.call(refusing)
    with pytest.raises((RuntimeError, MemoryError, ValueError)):
        other.call(own_id)
