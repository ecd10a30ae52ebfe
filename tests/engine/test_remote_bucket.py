# SPDX-License-Identifier: GPL-3.0-or-later
"""The budget of requests that a machine shares: never above the limit, served in order, and it outlives all trouble."""

from __future__ import annotations

import heapq
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backends.remote.bucket import (
    CREATE,
    LONGEST_S,
    LOOK_S,
    POLL,
    STALE_S,
    STARVING_S,
    WINDOW_S,
    Bucket,
    path_for,
)
from engine.backends.remote.schedule import Crowd, SystemClock
from engine.progress import Cancelled
from tests.engine.remote_harness import Hand, nothing
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]


def never() -> None:
    raise Cancelled


@settings(max_examples=30)
@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 5.0)), min_size=1, max_size=60),
)
def test_no_minute_of_the_servers_holds_more_than_its_limit(limit: int, asked: list[tuple[float, float]]) -> None:
    """However late requests arrive between sending and answer, and in whatever order."""
    clock = Hand()
    bucket = Bucket(None, limit, clock)
    exchanges: list[tuple[float, float]] = []
    under_way: list[tuple[float, int]] = []

    def check() -> None:
        while under_way and under_way[0][0] <= clock.time:
            bucket.done(heapq.heappop(under_way)[1])

    for pause, latency in asked:
        clock.time += pause
        check()
        grant = bucket.acquire(POLL, check)
        exchanges.append((clock.time, clock.time + latency))
        heapq.heappush(under_way, (clock.time + latency, grant))
    for number, (sent, _) in enumerate(exchanges):
        # The server may count those before as late as their answers came, and this one as soon as it was sent.
        assert sum(answered > sent - 60.0 for _, answered in exchanges[:number]) < limit
    bucket.close()


def test_a_full_minute_is_waited_for_exactly() -> None:
    clock = Hand()
    bucket = Bucket(None, 50, clock)
    for _ in range(50):
        bucket.done(bucket.acquire(CREATE, nothing))
    assert clock.time == 1000.0
    bucket.done(bucket.acquire(CREATE, nothing))
    assert 1000.0 + WINDOW_S <= clock.time < 1000.0 + WINDOW_S + 0.1


def test_a_lost_answer_holds_its_place_for_a_while_only() -> None:
    clock = Hand()
    bucket = Bucket(None, 1, clock)
    bucket.acquire(CREATE, nothing)
    bucket.acquire(CREATE, nothing)
    assert 1060.0 < clock.time <= 1000.1 + LONGEST_S + WINDOW_S


class Turn:
    """A waiter in a thread of its own, which tells when it got its place."""

    def __init__(self, bucket: Bucket, rank: int, order: list[str], name: str, since: float | None = None) -> None:
        self.thread = threading.Thread(target=self._run, args=(bucket, rank, order, name, since))
        self.thread.start()

    def _run(self, bucket: Bucket, rank: int, order: list[str], name: str, since: float | None) -> None:
        grant = bucket.acquire(rank, nothing, since)
        order.append(name)
        bucket.done(grant)


class Fast:
    """A clock that runs a hundred times as fast as the world."""

    def __init__(self) -> None:
        self._system = SystemClock()

    def now(self) -> float:
        return self._system.now() * 100.0

    def sleep(self, seconds: float) -> None:
        self._system.sleep(seconds / 100.0)


def waiting(path: Path) -> int:
    with sqlite3.connect(path) as db:
        (count,) = db.execute("SELECT count(*) FROM waiting").fetchone()
    db.close()
    return int(count)


def until(true: Callable[[], bool]) -> None:
    clock = SystemClock()
    deadline = clock.now() + 20.0
    while not true():
        assert clock.now() < deadline
        clock.sleep(0.005)


def test_creations_go_before_polls_and_each_in_its_order(tmp_path: Path) -> None:
    clock, path = Fast(), tmp_path / "rate.sqlite3"
    one, two = (Bucket(path, 1, clock) for _ in range(2))
    one.done(one.acquire(CREATE, nothing))
    order: list[str] = []
    turns = []
    for count, (bucket, rank, name) in enumerate(
        [(one, POLL, "poll 1"), (two, POLL, "poll 2"), (one, CREATE, "create 1"), (two, CREATE, "create 2")], 1
    ):
        turns.append(Turn(bucket, rank, order, name))
        until(lambda count=count: waiting(path) == count)  # type: ignore[misc]
    for turn in turns:
        turn.thread.join(30.0)
    assert order == ["create 1", "create 2", "poll 1", "poll 2"]


def test_a_poll_that_starves_goes_first(tmp_path: Path) -> None:
    clock, path = Fast(), tmp_path / "rate.sqlite3"
    bucket = Bucket(path, 1, clock)
    bucket.acquire(CREATE, nothing)
    order: list[str] = []
    turns = [Turn(bucket, CREATE, order, "create")]
    until(lambda: waiting(path) == 1)
    turns.append(Turn(bucket, POLL, order, "poll", since=clock.now() - STARVING_S - 1.0))
    until(lambda: waiting(path) == 2)
    for turn in turns:
        turn.thread.join(30.0)
    assert order == ["poll", "create"]


def test_one_who_gives_up_leaves_the_queue(tmp_path: Path) -> None:
    path = tmp_path / "rate.sqlite3"
    bucket = Bucket(path, 1, Hand())
    bucket.acquire(CREATE, nothing)
    with pytest.raises(Cancelled):
        bucket.acquire(CREATE, never)
    assert waiting(path) == 0


def test_one_who_died_in_the_queue_holds_nobody_up_for_long(tmp_path: Path) -> None:
    clock, path = Hand(), tmp_path / "rate.sqlite3"
    bucket = Bucket(path, 1, clock)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO waiting VALUES ('dead', 0, 999.0, 1000.0)")
    db.close()
    bucket.acquire(CREATE, nothing)
    assert 1000.0 < clock.time <= 1000.0 + STALE_S + LOOK_S + 0.1


def test_a_pause_holds_for_all(tmp_path: Path) -> None:
    clock = Hand()
    one, two = (Bucket(tmp_path / "rate.sqlite3", 50, clock) for _ in range(2))
    one.pause(20.0)
    one.pause(5.0)
    two.acquire(CREATE, nothing)
    assert 1020.0 <= clock.time < 1020.1


@pytest.mark.parametrize("start", [5.0, 900.0])
def test_what_was_written_before_a_restart_of_the_machine_is_forgotten(tmp_path: Path, start: float) -> None:
    """The monotonic clock begins anew then."""
    before = Bucket(tmp_path / "rate.sqlite3", 2, Hand(50_000.0))
    for _ in range(2):
        before.done(before.acquire(CREATE, nothing))
    before.pause(7000.0)
    before.enter("old", 50_000.0, "1024", 600.0)
    before.learn("1024", 80.0)
    before.close()
    clock = Hand(start)
    bucket = Bucket(tmp_path / "rate.sqlite3", 2, clock)
    bucket.acquire(CREATE, nothing)
    assert clock.time == start
    assert bucket.enter("new", start, "1024", 600.0) == Crowd(1, 0, 2)
    assert bucket.expected("1024", 0.5) is None


def test_the_crowd_is_all_jobs_of_the_machine_that_still_live(tmp_path: Path) -> None:
    clock = Hand()
    one, two = (Bucket(tmp_path / "rate.sqlite3", 50, clock) for _ in range(2))
    assert one.enter("a", 990.0, "1024", 600.0) == Crowd(1, 0, 50)
    assert two.enter("b", 995.0, "1024", 100.0) == Crowd(2, 1, 50)
    clock.time += 101.0
    assert one.enter("a", 990.0, "1024", 600.0) == Crowd(1, 0, 50)
    one.leave("a")
    assert two.enter("c", 1000.0, "1024", 600.0) == Crowd(1, 0, 50)


def test_how_long_jobs_take_is_learned_by_all(tmp_path: Path) -> None:
    clock = Hand()
    one, two = (Bucket(tmp_path / "rate.sqlite3", 50, clock) for _ in range(2))
    for seconds in (30.0, 50.0, 70.0, 90.0):
        one.learn("1024", seconds)
    assert one.expected("1024", 0.5) == 70.0
    two.enter("a", 1000.0, "1024", 60.0)
    assert two.expected("1024", 0.0) == 30.0
    assert two.expected("512", 0.5) is None
    clock.time += 90_000.0
    two.enter("a", 1000.0, "1024", 60.0)
    assert two.expected("1024", 0.5) is None


@pytest.mark.parametrize("trouble", ["rubbish", "folder", "no folder"])
def test_a_file_that_cannot_be_used_is_no_reason_to_stop(tmp_path: Path, trouble: str) -> None:
    path = tmp_path / "shared" / "rate.sqlite3"
    if trouble == "folder":
        path.mkdir(parents=True)
    elif trouble == "rubbish":
        path.parent.mkdir()
        path.write_bytes(b"this is no database" * 1000)
    else:
        path.parent.write_text("a file where the folder should be")
    clock = Hand()
    bucket = Bucket(path, 1, clock)
    bucket.done(bucket.acquire(CREATE, nothing))
    bucket.done(bucket.acquire(CREATE, nothing))
    assert clock.time >= 1000.0 + WINDOW_S
    bucket.close()


OPEN = """
import sys, time
from pathlib import Path
from engine.backends.remote.bucket import Bucket
from engine.backends.remote.schedule import SystemClock
for line in sys.stdin:
    path, moment = line.split()
    while time.time() < float(moment):
        pass
    bucket = Bucket(Path(path), 50, SystemClock())
    print(bucket.shared, flush=True)
    bucket.close()
"""


def test_processes_that_make_the_file_at_once_share_it(tmp_path: Path) -> None:
    """One in ten was left alone with a budget of its own: two workers then asked twice as much as the server allows."""
    command = [sys.executable, "-c", OPEN]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            )
            for _ in range(3)
        ]
        shared = []
        for number in range(30):
            for child in children:
                assert child.stdin
                print(tmp_path / f"{number}.sqlite3", time.time() + 0.03, file=child.stdin, flush=True)
            shared += [child.stdout.readline().strip() for child in children if child.stdout]
        assert shared == ["True"] * 90
        for child in children:
            assert child.stdin
            child.stdin.close()


def test_a_file_that_another_holds_for_long_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "rate.sqlite3"
    bucket = Bucket(path, 3, SystemClock())
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(1.0, other.execute, ["ROLLBACK"])
    release.start()
    bucket.acquire(CREATE, nothing)
    release.join()
    assert bucket.shared
    assert other.execute("SELECT count(*) FROM grants").fetchone() == (1,)
    other.close()
    bucket.close()


@pytest.mark.parametrize("trouble", ["locked for ever", "damaged", "read-only"])
def test_where_the_file_fails_later_the_minute_counts_as_spent(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the others have sent is not known any more: nothing is sent that could be too much."""
    monkeypatch.setattr("engine.backends.remote.bucket._BUSY_S", 0.2)
    path, clock = tmp_path / "rate.sqlite3", Hand()
    bucket = Bucket(path, 3, clock)
    bucket.done(bucket.acquire(CREATE, nothing))
    other = sqlite3.connect(path, isolation_level=None)
    if trouble == "locked for ever":
        other.execute("BEGIN EXCLUSIVE")
    elif trouble == "damaged":
        other.execute("DROP TABLE waiting")
        other.execute("DROP TABLE grants")
    else:
        bucket._connection.execute("PRAGMA query_only = 1")
    begin = clock.time
    bucket.done(bucket.acquire(CREATE, nothing))
    assert clock.time >= begin + 60.0
    assert not bucket.shared
    assert "shared no longer" in caplog.text
    other.close()
    bucket.close()


def test_the_budget_is_the_servers_and_names_no_key(tmp_path: Path) -> None:
    one = path_for(tmp_path, "https://a.example")
    assert one == path_for(tmp_path, "https://a.example/p")
    assert one != path_for(tmp_path, "https://b.example")
    assert "example" not in one.name


WORKER = """
import sys, time
from pathlib import Path
from engine.backends.remote.bucket import CREATE, Bucket
class Fast:
    def now(self): return time.monotonic() * 200.0
    def sleep(self, seconds): time.sleep(seconds / 200.0)
clock = Fast()
bucket = Bucket(Path(sys.argv[1]), 10, clock)
for _ in range(12):
    grant = bucket.acquire(CREATE, lambda: None)
    print(clock.now(), flush=True)
    bucket.done(grant)
"""


def test_processes_share_the_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path / "rate.sqlite3")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]
    told = [child.communicate(timeout=PATIENCE_S)[0] for child in children]
    assert all(child.returncode == 0 for child in children)
    sent = sorted(float(line) for text in told for line in text.split())
    assert len(sent) == 36
    for first, last in zip(sent, sent[10:], strict=False):
        assert last - first >= 60.0
