# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker process: what it says, how it fails, and how it is got rid of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.workers.launch import Launch
from engine.workers.log import Log
from engine.workers.messages import CancelledJob, Failed, Reached, Result, Started
from engine.workers.process import Ended, Event, Limits, Worker
from tests.engine.queue_harness import QUICK, ROOT, gone, processes, request, scripted, user_folder
from tests.support.waiting import PATIENCE_S, wait_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
Begin = Callable[..., Worker]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "logs" / "draft.log")


@pytest.fixture
def begin(tmp_path: Path, log: Log) -> Iterator[Begin]:
    """Start workers, and see that none is left behind."""
    begun: list[Worker] = []

    def begin(create: str = "create_light", limits: Limits = QUICK, launch: Launch | None = None) -> Worker:
        begun.append(Worker("draft", launch or scripted(create), log, limits, user_folder(tmp_path) / "cache/bytecode"))
        return begun[-1]

    yield begin
    for worker in begun:
        worker.kill()
        listen(worker, until=Ended)
    if sys.platform == "linux":
        assert gone(str(tmp_path))


def listen(worker: Worker, until: type[Any]) -> list[Event]:
    """Watch the worker and return all it says, up to and with a message of the type `until`, or its end."""
    heard: list[Event] = []
    deadline = time.monotonic() + PATIENCE_S
    while not worker.ended:
        worker.watch()
        event = worker.receive()
        if event is None:
            assert time.monotonic() < deadline, heard
            time.sleep(0.005)
            continue
        heard.append(event)
        if isinstance(event, until):
            break
    return heard


def run(worker: Worker, folder: Path, script: str, job: str = "job") -> None:
    worker.run(job, request(script).to_json(), folder)


def failure(worker: Worker, event: Event) -> tuple[str, str]:
    """Return the code and the detail of a failed job."""
    assert isinstance(event, Failed)
    error = worker.error_of(event)
    return error.code, error.detail


def test_one_worker_makes_one_job_after_the_other(begin: Begin, tmp_path: Path, log: Log) -> None:
    worker = begin("create")
    pids = set()
    for number in range(3):
        folder = tmp_path / f"资产 {number}"
        assert worker.free
        run(worker, folder, "slow 0.1", f"job{number}")
        assert not worker.free
        heard = listen(worker, until=Result)
        pids.add(worker.pid)
        assert isinstance(heard[0], Started)
        fractions = [event.fraction for event in heard if isinstance(event, Reached)]
        assert fractions == sorted(fractions)
        assert {event.stage for event in heard if isinstance(event, Reached)} == {"draw", "paint", "prepare"}
        result = heard[-1]
        assert isinstance(result, Result)
        assert result.result["vertices"] == 3
        assert result.result["faces"] == 1
        assert set(result.result["stages"]) == {"draw", "paint", "prepare"}
        assert result.result["notices"] == ["It is a triangle"]
        assert {path.name for path in folder.iterdir()} == {"asset.glb", "request.json", "result.json", "import"}
        assert (folder / "import" / "import.json").is_file()
    assert len(pids) == 1


def test_a_worker_that_is_asked_to_leaves_in_order(begin: Begin, tmp_path: Path, log: Log) -> None:
    worker = begin()
    run(worker, tmp_path / "job", "quick")
    listen(worker, until=Result)
    worker.stop()
    assert not worker.free
    (end,) = listen(worker, until=Ended)
    assert isinstance(end, Ended)
    assert end.error.fields["reason"] == "exit code 0"
    text = log.path.read_text("utf-8")
    assert "closed" in text
    assert "Fatal" not in text


@linux
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("memory", "memory_full"),
        ("module", "module_missing"),
        ("full", "disk_full"),
        ("denied", "output_unwritable"),
        ("bug", "internal"),
        ("no_such_script", "internal"),
        ("busy_background", "background_busy"),
    ],
)
def test_failures_are_told_and_leave_nothing(begin: Begin, tmp_path: Path, log: Log, script: str, code: str) -> None:
    worker = begin()
    run(worker, tmp_path / "job", script)
    found, detail = failure(worker, listen(worker, until=Failed)[-1])
    assert found == code
    if code == "internal":
        assert "Traceback" in detail
    assert not (tmp_path / "job").exists()
    run(worker, tmp_path / "job", "quick")
    assert isinstance(listen(worker, until=Result)[-1], Result)


def test_an_internal_error_names_the_log(begin: Begin, tmp_path: Path, log: Log) -> None:
    worker = begin()
    run(worker, tmp_path / "job", "bug")
    event = listen(worker, until=Failed)[-1]
    assert isinstance(event, Failed)
    error = worker.error_of(event)
    assert str(log.path) in error.remedy
    assert "RuntimeError: a bug of the engine" in error.cause


@pytest.mark.parametrize(
    ("create", "code", "word"),
    [
        ("create_never", "module_missing", "espalier_has_no_such_module"),
        ("create_broken", "worker_start", "cannot be made"),
        ("create_dying", "worker_start", "about to die"),
        ("no_such_function", "worker_start", "no_such_function"),
    ],
)
def test_one_that_does_not_start_says_why(begin: Begin, tmp_path: Path, create: str, code: str, word: str) -> None:
    worker = begin(create)
    run(worker, tmp_path / "job", "quick")
    (end,) = listen(worker, until=Ended)
    assert isinstance(end, Ended)
    assert end.error.code == code
    assert word in end.error.detail
    assert not end.started


def test_one_that_cannot_be_started_says_why(begin: Begin, tmp_path: Path) -> None:
    worker = begin(launch=Launch(str(tmp_path / "no python"), (str(ROOT),)))
    run(worker, tmp_path / "job", "quick")
    (end,) = listen(worker, until=Ended)
    assert isinstance(end, Ended)
    assert end.error.code == "worker_start"
    assert "no python" in end.error.cause


def test_one_that_hangs_while_loading_is_silent(begin: Begin, tmp_path: Path) -> None:
    worker = begin("create_mute", Limits(silent_s=1.0, cancel_s=0.3, terminate_s=0.3))
    run(worker, tmp_path / "job", "quick")
    (end,) = listen(worker, until=Ended)
    assert isinstance(end, Ended)
    assert end.error.code == "worker_silent"


def test_one_whose_folder_is_full_still_tells_what_the_server_said(tmp_path: Path) -> None:
    from engine.workers.handover import Handover
    from engine.workers.messages import Accepted, Message, RunJob
    from tests.engine.backends_for_tests.scripted import Scripted

    said: list[Message] = []

    def send(message: Message) -> None:
        said.append(message)
        run.written()

    for folder, left in ((tmp_path / "not there", False), (tmp_path, True)):
        run = Handover(Scripted(), RunJob("job", {}, str(folder)), send, lambda: False)
        run.accepted("r-1")
        assert said.pop() == Accepted("job", "r-1")
        assert (folder / "remote_id").exists() == left


@pytest.mark.parametrize(
    ("script", "reason"),
    [("killed", "signal SIGKILL"), ("crash", "signal SIGSEGV"), ("quits 3", "exit code 3"), ("quits 0", "exit code 0")],
)
def test_one_that_dies_takes_its_last_words_along(begin: Begin, tmp_path: Path, script: str, reason: str) -> None:
    worker = begin()
    run(worker, tmp_path / "job", script)
    end = listen(worker, until=Ended)[-1]
    assert isinstance(end, Ended)
    assert end.started
    assert end.error.code == "worker_died"
    assert end.error.fields["reason"] == reason
    if script == "killed":
        assert "last words" in end.error.detail


@pytest.mark.parametrize("script", ["frozen 60", "stopped"])
def test_one_without_a_heartbeat_is_stopped(begin: Begin, tmp_path: Path, script: str) -> None:
    worker = begin(limits=Limits(silent_s=1.5, cancel_s=0.3, terminate_s=0.3))
    run(worker, tmp_path / "job", script)
    end = listen(worker, until=Ended)[-1]
    assert isinstance(end, Ended)
    assert end.error.code == "worker_silent"


def test_the_heartbeat_is_enough_to_live(begin: Begin, tmp_path: Path) -> None:
    worker = begin(limits=Limits(silent_s=1.5, cancel_s=0.3, terminate_s=0.3))
    run(worker, tmp_path / "job", "stuck 2.5")
    assert isinstance(listen(worker, until=Result)[-1], Result)


def test_time_in_which_nobody_listened_is_not_silence(begin: Begin, tmp_path: Path) -> None:
    worker = begin(limits=Limits(silent_s=1.2, cancel_s=0.3, terminate_s=0.3))
    run(worker, tmp_path / "job", "stuck 3")
    listen(worker, until=Started)
    time.sleep(2.0)  # as long as a render
    assert isinstance(listen(worker, until=Result)[-1], Result)


@pytest.mark.parametrize("script", ["stuck 60", "stubborn 60", "frozen 60", "stopped"])
def test_a_hung_one_can_be_cancelled(begin: Begin, tmp_path: Path, script: str) -> None:
    worker = begin(limits=Limits(silent_s=60, cancel_s=0.3, terminate_s=0.3))
    run(worker, tmp_path / "job", script)
    listen(worker, until=Started)
    time.sleep(0.2)
    start = time.monotonic()
    worker.cancel()
    assert time.monotonic() - start < 0.25
    assert isinstance(listen(worker, until=Ended)[-1], Ended)
    assert time.monotonic() - start < 10


def test_a_cancelled_job_leaves_nothing_and_a_warm_worker(begin: Begin, tmp_path: Path) -> None:
    worker = begin()
    run(worker, tmp_path / "job", "slow 30")
    listen(worker, until=Reached)
    assert (tmp_path / "job").is_dir()
    worker.cancel()
    assert isinstance(listen(worker, until=CancelledJob)[-1], CancelledJob)
    assert not (tmp_path / "job").exists()
    time.sleep(QUICK.cancel_s + 0.2)  # the deadline for cancelling has passed, and does not matter any more
    run(worker, tmp_path / "job", "quick")
    assert isinstance(listen(worker, until=Result)[-1], Result)


def test_a_cancel_that_comes_too_late_does_not_stop_the_next_run(begin: Begin, tmp_path: Path) -> None:
    worker = begin(limits=Limits(silent_s=60, cancel_s=10, terminate_s=1))
    run(worker, tmp_path / "job", "quick")
    time.sleep(1.0)  # it is done, which the parent has not heard yet
    worker.cancel()
    assert isinstance(listen(worker, until=Result)[-1], Result)
    run(worker, tmp_path / "job", "slow 0.2")
    assert isinstance(listen(worker, until=Result)[-1], Result)


def test_what_is_printed_goes_to_the_log(begin: Begin, tmp_path: Path, log: Log) -> None:
    worker = begin()
    run(worker, tmp_path / "job", "prints")
    assert isinstance(listen(worker, until=Result)[-1], Result)
    worker.stop()
    listen(worker, until=Ended)
    text = log.path.read_text("utf-8")
    for words in ("from print", "reads ''", "written to descriptor 1", "put by C", "printed by a child"):
        assert words in text


def test_a_malformed_line_ends_the_worker(begin: Begin, tmp_path: Path) -> None:
    worker = begin()
    run(worker, tmp_path / "job", "garbles 60")
    end = listen(worker, until=Ended)[-1]
    assert isinstance(end, Ended)
    assert end.error.code == "worker_garbled"
    assert "this is not a message" in end.error.detail


@linux
def test_a_flood_of_output_neither_blocks_nor_fills_the_disk(begin: Begin, tmp_path: Path) -> None:
    worker = begin()
    run(worker, tmp_path / "job", "floods 60000")  # 6 MB
    assert isinstance(listen(worker, until=Result)[-1], Result)
    worker.stop()
    listen(worker, until=Ended)
    logs = sorted((tmp_path / "logs").iterdir())
    assert [path.name for path in logs] == ["draft.1.log", "draft.2.log", "draft.log"]
    assert all(path.stat().st_size <= 1_000_000 for path in logs)
    assert "line 59999" in (tmp_path / "logs" / "draft.log").read_text("utf-8")


def test_orders_never_wait_for_a_child_that_does_not_read(begin: Begin, tmp_path: Path) -> None:
    worker = begin()
    large = {**request("quick").to_json(), "padding": "x" * 500_000}  # far more than a pipe holds
    run(worker, tmp_path / "job", "stopped")
    listen(worker, until=Started)
    start = time.monotonic()
    worker.run("other", large, tmp_path / "other")
    worker.cancel()
    assert time.monotonic() - start < 0.25


@linux
@pytest.mark.parametrize("waitid", [True, False])
def test_what_a_worker_started_ends_with_it(
    begin: Begin, tmp_path: Path, waitid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not waitid:  # as on macOS before CPython 3.13
        monkeypatch.delattr(os, "waitid")
    worker = begin(limits=Limits(silent_s=60, cancel_s=0.3, terminate_s=0.3))
    run(worker, tmp_path / "job", "breeds 961.5")
    listen(worker, until=Reached)
    wait_for(lambda: processes("sleep(961.5)"))
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    listen(worker, until=Ended)
    assert gone("sleep(961.5)")


PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from engine.workers.log import Log
from engine.workers.messages import Started
from engine.workers.process import Worker
from tests.engine.queue_harness import request, scripted, user_folder
root = Path(sys.argv[2])
worker = Worker("draft", scripted(), Log(root / "log"), bytecode=user_folder(root) / "cache/bytecode")
worker.run("job", request(sys.argv[3]).to_json(), root / "job")
while not isinstance(worker.receive(), Started):
    time.sleep(0.01)
time.sleep(0.3)
print("started", flush=True)
time.sleep(60)
"""


@linux
@pytest.mark.parametrize("script", ["slow 962.5", "stuck 962.5", "frozen 962.5", "breeds 962.5"])
def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path, script: str) -> None:
    command = [sys.executable, "-c", PARENT, str(ROOT), str(tmp_path), script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        assert processes(str(tmp_path)) - {parent.pid}
        parent.kill()
    assert gone(str(tmp_path), PATIENCE_S)  # a worker runs behind all else, and may come to it late
    assert gone("sleep(962.5)", PATIENCE_S)


@linux
def test_a_worker_that_waits_ends_when_its_parent_is_killed_while_starting(tmp_path: Path) -> None:
    for pause in (0.0, 0.01, 0.02, 0.04, 0.06, 0.1):
        script = PARENT.replace("while not", f"print('spawned', flush=True)\ntime.sleep({pause})\nwhile not")
        command = [sys.executable, "-c", script, str(ROOT), str(tmp_path), "slow 963"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"spawned\n"
            time.sleep(pause)
            parent.kill()
        assert gone(str(tmp_path), PATIENCE_S)


def test_the_environment_is_not_the_persons_python(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.setenv("PYTHONPATH", str(trap))
    monkeypatch.setenv("PYTHONHOME", str(trap))
    monkeypatch.setenv("PYTHONSTARTUP", str(trap / "json.py"))
    monkeypatch.chdir(trap)
    worker = begin()
    run(worker, tmp_path / "job", "quick")
    assert isinstance(listen(worker, until=Result)[-1], Result)
