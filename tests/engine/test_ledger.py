# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger keeps what it was told, refuses what it cannot trust, and lets one writer move a job at a time."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EspalierError
from engine.jobs.job import ACTIVE, MOVES, Job, State
from engine.jobs.ledger import Ledger, Move
from engine.jobs.owner import Owner
from engine.jobs.recovery import Verdict, after_crash, after_failure, after_loss
from engine.jobs.schema import APPLICATION, MIGRATIONS
from tests.engine.queue_harness import ROOT, request


def make(path: Path, owner: str = "me") -> Ledger:
    return Ledger(path / "ledger.sqlite3", owner)


def job(name: str = "a", **fields: Any) -> Job:
    return Job(name, request("quick"), State.QUEUED, **{"created": 1.0, **fields})


def done(future: Future[bool]) -> bool:
    return future.result(10)


def row(ledger: Ledger, name: str = "a") -> Any:
    return ledger.row(name).result(10)


def test_a_job_comes_back_as_it_was(tmp_path: Path) -> None:
    surrogate = "bild \udcff 图片 .png"
    asked = Job(
        "a",
        request("名 " + "x" * 5000, surrogate),
        State.QUEUED,
        placement={"位": [1.5, None, "\udc80"]},
        created=123.25,
    )
    ledger = make(tmp_path)
    assert done(ledger.insert(asked))
    error = EspalierError("disk_full", "deep detail \udcff", path="/空 间")
    changes = {
        "started": 5.0, "finished": 7.5, "attempts": 2, "runs": 4, "result": {"stages": {"a": 1.0}}, "error": error,
        "remote_id": "r-1", "digest": "d-1", "server": "https://a", "spent": 0.25, "rank": 2.5, "cleared": True,
    }  # fmt: skip
    assert done(ledger.move(Move("a", 0, State.FAILED, changes)))
    ledger.close(5)
    found = row(make(tmp_path))
    assert found.serial == 1
    assert found.owner == "me"
    assert found.job.request == asked.request
    assert found.job.placement == asked.placement
    assert found.job.state is State.FAILED
    assert found.job.error.to_json() == error.to_json()
    fields = (
        "created",
        "started",
        "finished",
        "attempts",
        "runs",
        "result",
        "remote_id",
        "digest",
        "server",
        "spent",
        "rank",
        "cleared",
    )
    values = [123.25, 5.0, 7.5, 2, 4, {"stages": {"a": 1.0}}, "r-1", "d-1", "https://a", 0.25, 2.5, True]
    assert [getattr(found.job, name) for name in fields] == values


def test_what_is_done_is_on_the_disk(tmp_path: Path) -> None:
    ledger = make(tmp_path)
    assert done(ledger.insert(job()))
    other = sqlite3.connect(tmp_path / "ledger.sqlite3")
    assert other.execute("SELECT state FROM jobs").fetchall() == [("queued",)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


def test_a_move_that_comes_second_moves_nothing(tmp_path: Path) -> None:
    mine, other = make(tmp_path), make(tmp_path, "other")
    assert done(mine.insert(job()))
    assert not done(other.move(Move("a", 0, State.CANCELLED)))  # an unfinished job is its owner's
    assert done(mine.move(Move("a", 0, State.FAILED)))
    assert not done(mine.move(Move("a", 0, State.CANCELLED)))
    assert done(other.move(Move("a", 1, State.QUEUED)))  # a finished one is anybody's
    assert not done(mine.move(Move("a", 1, State.QUEUED)))
    assert not done(mine.move(Move("b", 0, State.FAILED)))
    assert row(mine).owner == "other"


def test_moves_that_wait_together_are_committed_in_order(tmp_path: Path) -> None:
    ledger = make(tmp_path)
    futures = [ledger.insert(job(str(number))) for number in range(200)]
    futures += [ledger.move(Move(str(number), 0, State.SUBMITTING)) for number in range(200)]
    futures += [ledger.move(Move(str(number), 1, State.RUNNING)) for number in range(200)]
    assert all(done(future) for future in futures)


def test_one_that_fails_does_not_take_the_others_along(tmp_path: Path) -> None:
    ledger = make(tmp_path)
    first, twice, last = ledger.insert(job("a")), ledger.insert(job("a")), ledger.insert(job("b"))
    assert done(first)
    assert done(last)
    with pytest.raises(EspalierError):
        twice.result(10)


def test_history_is_limited_and_newest_first(tmp_path: Path) -> None:
    ledger = make(tmp_path)
    for number in range(10):
        ledger.insert(job(f"{number}", created=float(number)))
        ledger.move(Move(f"{number}", 0, State.QUEUED if number == 9 else State.FAILED))
    assert [found.job.id for found in ledger.history(3)] == ["8", "7", "6"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"this is not a database, " * 400,
        lambda data: data[:100] + b"\xff" * (len(data) - 100),
        lambda data: data[:4096] + bytes(4096) + data[8192:],
        lambda data: data[: len(data) // 2],
    ],
)
def test_a_damaged_ledger_is_refused_and_left_alone(tmp_path: Path, damage: Any) -> None:
    ledger = make(tmp_path)
    for number in range(50):
        ledger.insert(job(str(number)))
    ledger.close(5)
    path = tmp_path / "ledger.sqlite3"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(EspalierError) as caught:
        make(tmp_path)
    assert caught.value.code == "ledger_damaged"
    assert path.read_bytes() == damaged


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ledger.sqlite3")
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    with pytest.raises(EspalierError) as caught:
        make(tmp_path)
    assert caught.value.code == "ledger_damaged"


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    make(tmp_path).close(5)
    other = sqlite3.connect(tmp_path / "ledger.sqlite3")
    other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    other.close()
    with pytest.raises(EspalierError) as caught:
        make(tmp_path)
    assert caught.value.code == "ledger_newer"


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_an_older_ledger_is_brought_up_to_date_with_all_it_holds(tmp_path: Path, version: int) -> None:
    old = sqlite3.connect(tmp_path / "ledger.sqlite3")
    with old:
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                old.execute(statement)
        if version:
            names = "id, serial, owner, state, engine, request, placement, created, attempts, runs, result, error"
            text = json.dumps(request("quick").to_json())
            for name, state in (("a", "ready"), ("b", "failed")):
                values = (name, 4, "gone", state, "draft", text, "{}", 1.0, 1, 1, '{"vertices": 3}', "", "")
                old.execute(f"INSERT INTO jobs ({names}, remote_id) VALUES ({'?, ' * 12}?)", values)
            old.execute(f"PRAGMA application_id = {APPLICATION}")
            old.execute(f"PRAGMA user_version = {version}")
    old.close()
    for _ in range(2):
        ledger = make(tmp_path)
        found = {entry.job.id: entry for entry in ledger.history(10)}
        if version:
            assert found["a"].serial == 4
            assert found["a"].job.result == {"vertices": 3}
            assert (found["a"].job.digest, found["a"].job.spent) == ("", 0.0)
            assert (found["a"].job.rank, found["a"].job.cleared) == (1.0, False)
            assert found["b"].job.cleared, "what failed long ago is not brought up again"
        assert ledger.spent().result(10) == 0.0
        ledger.close(5)
    new = sqlite3.connect(tmp_path / "ledger.sqlite3")
    assert new.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    new.close()


def test_what_was_spent_is_the_sum_of_all_owners(tmp_path: Path) -> None:
    mine, other = make(tmp_path), make(tmp_path, "other")
    for ledger, name, cost in ((mine, "a", 0.25), (other, "b", 0.5), (mine, "c", 0.0)):
        assert done(ledger.insert(job(name)))
        assert done(ledger.move(Move(name, 0, State.READY, {"spent": cost})))
    assert mine.spent().result(10) == 0.75


def test_an_empty_file_is_a_new_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").touch()
    assert done(make(tmp_path).insert(job()))


def test_a_place_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(EspalierError) as caught:
        make(tmp_path / "nowhere")
    assert caught.value.code == "output_unwritable"


def test_a_ledger_that_is_held_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.jobs.schema._BUSY_S", 0.2)
    ledger = make(tmp_path)
    other = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EspalierError) as caught:
        ledger.insert(job()).result(10)
    assert caught.value.code == "ledger_busy"
    other.execute("ROLLBACK")
    other.close()
    assert done(ledger.insert(job()))


def test_nonsense_in_a_row_is_passed_over(tmp_path: Path) -> None:
    ledger = make(tmp_path)
    for name in "abcdef":
        ledger.insert(job(name))
        assert done(ledger.move(Move(name, 0, State.FAILED)))
    other = sqlite3.connect(tmp_path / "ledger.sqlite3")
    with other:
        other.execute("UPDATE jobs SET request = 'no JSON' WHERE id = 'a'")
        other.execute("UPDATE jobs SET state = 'asleep' WHERE id = 'b'")
        other.execute("UPDATE jobs SET result = '[1]' WHERE id = 'c'")
        other.execute("UPDATE jobs SET request = '[]' WHERE id = 'd'")
        old = json.dumps({**request("quick").to_json(), "parameters": {"of_an_older_version": 1}})
        other.execute("UPDATE jobs SET request = ? WHERE id = 'e'", (old,))
    other.close()
    found = {entry.job.id: entry.job for entry in ledger.history(10)}
    assert set(found) == {"e", "f"}
    assert found["e"].request.parameters == {"of_an_older_version": 1}


HOLD = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from engine.jobs.owner import Owner
owner = Owner(Path(sys.argv[2]))
print(owner.id, flush=True)
sys.stdin.read()
"""


def test_an_owner_lives_as_long_as_its_process(tmp_path: Path) -> None:
    mine, neighbour = Owner(tmp_path), Owner(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ROOT), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        other = process.stdout.readline().strip()
        assert mine.alive(mine.id)
        assert mine.alive(neighbour.id)
        assert mine.alive(other)
        process.kill()
    assert not mine.alive(other)
    assert not mine.alive(other)  # its file is gone by now
    neighbour.release()
    assert not mine.alive(neighbour.id)
    assert [path.stem for path in tmp_path.iterdir()] == [mine.id]


jobs = st.builds(
    Job,
    st.just("a"),
    st.just(request("quick")),
    st.sampled_from(sorted(ACTIVE)),
    attempts=st.integers(0, 5),
    remote_id=st.sampled_from(["", "r-1"]),
    digest=st.sampled_from(["", "d-1"]),
    cancelling=st.booleans(),
)


@given(jobs, st.booleans(), st.booleans(), st.booleans())
def test_recovery_is_a_legal_move_and_never_pays_twice(found: Job, made: bool, placed: bool, free: bool) -> None:
    verdict = after_crash(found, made or placed, placed, free, 3)
    assert verdict.state is found.state or verdict.state in MOVES[found.state]
    begun = found.state is not State.QUEUED
    if begun and (made or placed):
        assert verdict.state in (State.FETCHING, State.READY)
    elif begun and not free and found.remote_id:
        assert verdict.state is State.RUNNING
    elif begun and not free and found.digest:
        assert verdict.state is State.UNKNOWN
    elif begun:
        assert verdict.state is (State.QUEUED if not free or found.attempts < 3 else State.FAILED)
    assert (verdict.error is not None) == (verdict.state in (State.FAILED, State.UNKNOWN))


@given(jobs, st.booleans(), st.booleans(), st.sampled_from(["worker_died", "worker_start", "worker_silent"]))
def test_a_lost_worker_never_makes_paid_work_begin_again(found: Job, begun: bool, free: bool, code: str) -> None:
    error = EspalierError(code, engine="e", reason="r", seconds="1", log="l")
    verdict = after_loss(found, begun, free, 3, error)
    sent = not free and bool(found.remote_id or found.digest)
    if found.cancelling:
        assert verdict.state is State.CANCELLED
        assert (verdict.error is not None) == bool(found.remote_id or found.digest)
        return
    if sent:
        known = State.RUNNING if found.attempts < 3 else State.FAILED
        assert verdict.state is (known if found.remote_id else State.UNKNOWN)
    if verdict.state is State.QUEUED:
        assert not sent
        assert not (free and begun)
        assert found.attempts < 3
    if free and begun:
        assert verdict.state is State.FAILED


@given(jobs, st.sampled_from(["worker_died", "remote_outcome_unknown", "job_contact_lost"]))
def test_a_failure_is_final_unless_it_says_that_nobody_knows(found: Job, code: str) -> None:
    error = EspalierError("disk_full", path="/")
    error.code = code
    verdict = after_failure(found, error)
    if found.cancelling:
        assert verdict.state is State.CANCELLED
    else:
        assert verdict == Verdict(State.FAILED if code == "worker_died" else State.UNKNOWN, error)
