# SPDX-License-Identifier: GPL-3.0-or-later
"""The key is in no file, no argument and no message, whatever happens; all of these are searched."""

from __future__ import annotations

import base64
import os
import signal
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from engine.backends.remote.backend import RemoteBackend
from engine.jobs.job import State
from engine.jobs.queue import JobQueue
from engine.request import GenerationRequest
from tests.engine.backends_for_tests.remote_scaled import ScaledClock
from tests.engine.queue_harness import drive, gone, processes
from tests.engine.remote_harness import SCALE, generate, picture
from tests.engine.remote_queue import open_remote
from tests.support.api_faults import Fault
from tests.support.api_server import ApiServer

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")]


def forms_of(key: str) -> list[bytes]:
    """Return the key as it might be hidden in a file: plain, in base64 at each offset, quoted, in UTF-16."""
    raw = key.encode()
    hidden = [raw, raw[8:24], urllib.parse.quote(key, safe="").encode(), key.encode("utf-16-le"), raw.hex().encode()]
    hidden += [base64.b64encode(b"x" * offset + raw)[4 * (offset > 0) : -4] for offset in range(3)]
    return hidden


def places_with(folder: Path, key: str) -> list[str]:
    """Return the files below `folder` that hold the key, and those whose names do."""
    found = []
    for path in folder.rglob("*"):
        if any(form in os.fsencode(path.name) for form in forms_of(key)[:1]):
            found.append(f"the name {path}")
        if path.is_file() and any(form in path.read_bytes() for form in forms_of(key)):
            found.append(str(path))
    return found


def told_to_others(word: str, key: str) -> list[str]:
    """Return which living processes about `word` have the key among their arguments or in their environment."""
    found = []
    for process in processes(word):
        for kind in ("cmdline", "environ"):
            try:
                text = Path(f"/proc/{process}/{kind}").read_bytes()
            except OSError:
                continue
            if key.encode() in text:
                found.append(f"{kind} of {process}")
    return found


@contextmanager
def watched(folder: Path, key: str) -> Iterator[list[str]]:
    """Look again and again, while something goes on, for the key in files and processes."""
    stop, found = threading.Event(), []

    def look() -> None:
        while not stop.wait(0.05):
            try:
                found.extend(told_to_others(str(folder), key) + places_with(folder, key))
            except OSError:
                continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def ended(queue: JobQueue) -> dict[State, int]:
    kinds: dict[State, int] = {}
    for job in queue.jobs():
        kinds[job.state] = kinds.get(job.state, 0) + 1
    return kinds


FAULTS = {
    "all goes well": [],
    "the answer is lost": [Fault("create", "reset_answered")],
    "the server fails": [Fault("poll", "status", 500, times=3), Fault("asset", "cut", 0.5)],
    "the job fails": [Fault("poll", "failed", "upstream_error")],
    "the asset is none": [Fault("asset", "picture", times=-1)],
    "the server sends elsewhere": [Fault("create", "redirect", "foreign")],
    "the server talks nonsense": [Fault("create", "not_http")],
}


@pytest.mark.parametrize("hidden", range(8))
def test_the_search_finds_what_is_there(tmp_path: Path, hidden: int) -> None:
    key = "sk-empiriolabs-hidden-0123456789"
    (tmp_path / "file").write_bytes(b"before " + forms_of(key)[hidden] + b" behind")
    assert places_with(tmp_path, key) == [str(tmp_path / "file")]
    assert places_with(tmp_path, "sk-empiriolabs-other-9876543210") == []
    (tmp_path / "file").write_bytes(base64.b64encode(b"x" * (hidden % 3) + f"{{{key}}}".encode()))
    assert places_with(tmp_path, key) == [str(tmp_path / "file")]


@pytest.mark.parametrize("what", FAULTS)
def test_no_file_and_no_process_has_the_key(tmp_path: Path, what: str) -> None:
    root = tmp_path / "user"
    with ApiServer(job_s=20.0, scale=SCALE, faults=FAULTS[what]) as server, watched(tmp_path, server.key) as found:
        queue = open_remote(root, server, tmp_path / "shared")
        queue.submit(GenerationRequest.create(str(picture(tmp_path)), "remote"))
        drive(queue)
        assert ended(queue) == {queue.jobs()[0].state: 1}
        shown = "".join(f"{job} {job.error} {job.error.detail if job.error else ''}" for job in queue.jobs())
        assert server.key not in shown
        assert places_with(tmp_path, server.key) == []
        queue.close()
        assert places_with(tmp_path, server.key) == []
        assert not server.leaks()
    assert found == []
    assert gone(str(tmp_path))


def test_a_server_that_says_the_key_back(tmp_path: Path) -> None:
    """As the vendor's does for a wrong one, "Incorrect API key provided: ..."."""
    wrong = "sk-empiriolabs-another-abcdefghijklmnop0123456789"
    with ApiServer(job_s=20.0, scale=SCALE) as server:
        account = server.account(tmp_path / "shared", key=wrong)
        queue = open_remote(tmp_path / "user", server, tmp_path / "shared", account=lambda engine: account)
        job = queue.submit(GenerationRequest.create(str(picture(tmp_path)), "remote"))
        drive(queue)
        error = queue.job(job).error
        assert error is not None
        assert "Incorrect API key" in f"{error} {error.detail}"
        assert wrong not in f"{error!r} {error} {error.detail} {error.to_json()}"
        queue.close()
        assert places_with(tmp_path, wrong) == []
        assert (tmp_path / "user/logs/remote.log").stat().st_size > 0


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_worker_that_crashes_says_no_secret(tmp_path: Path, number: signal.Signals) -> None:
    with ApiServer(job_s=2000.0, scale=SCALE) as server:
        queue = open_remote(tmp_path / "user", server, tmp_path / "shared")
        queue.submit(GenerationRequest.create(str(picture(tmp_path)), "remote"))
        drive(queue, lambda: bool(server.requests("GET", "/v1/jobs/")))
        (worker,) = processes(str(tmp_path / "user"))
        limits = Path(f"/proc/{worker}/limits").read_text().splitlines()
        assert next(line for line in limits if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]
        os.kill(worker, number)
        drive(queue, lambda: worker not in processes(str(tmp_path / "user")))
        drive(queue, lambda: bool(processes(str(tmp_path / "user"))) or not queue.busy)
        queue.close()
        assert places_with(tmp_path, server.key) == []
        shown = "".join(f"{job} {job.error} {job.error.detail if job.error else ''}" for job in queue.jobs())
        assert server.key not in shown


def test_a_bug_in_the_engine_says_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a traceback with the values of variables in it, but for the account as it came."""
    with ApiServer(job_s=20.0, scale=SCALE) as server:
        spoken: list[str] = []

        def send(self: Any, request: Any, **options: Any) -> Any:
            frame = sys._getframe(1)
            while frame is not None and "pytest" not in frame.f_code.co_filename:
                if "backends/remote" in frame.f_code.co_filename:
                    named = frame.f_locals.items()
                    spoken.extend(
                        f"{frame.f_code.co_name} {name} = {value!r}" for name, value in named if name != "account"
                    )
                frame = frame.f_back  # type: ignore[assignment]
            raise RuntimeError("a bug")

        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
        with pytest.raises(RuntimeError, match="a bug"):
            generate(server, tmp_path)
        assert spoken
        assert [line for line in spoken if server.key in line] == []


@pytest.mark.parametrize("name", ["EMPIRIOLABS_API_KEY"])
def test_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with ApiServer(job_s=20.0, scale=SCALE, key="sk-empiriolabs-environment-11111111") as server:
        monkeypatch.setenv(name, server.key)
        account = server.account(tmp_path / "shared", key="sk-empiriolabs-preference-22222222")
        outcome = generate(server, tmp_path, account=account)
        assert outcome.error is None, outcome.told()
        assert places_with(tmp_path, server.key) == []


def test_a_refused_key_is_named_by_its_source_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer(job_s=20.0, scale=SCALE) as server:
        monkeypatch.setenv("EMPIRIOLABS_API_KEY", "sk-empiriolabs-environment-333333333")
        outcome = generate(server, tmp_path)
        assert outcome.code == "remote_key_invalid"
        assert "EMPIRIOLABS_API_KEY" in outcome.told()
        assert "333333333" not in outcome.told()


@pytest.mark.parametrize("question", ["account", "model", "usage"])
def test_answers_hold_no_secret(tmp_path: Path, question: str) -> None:
    with ApiServer(job_s=20.0, scale=SCALE) as server:
        backend = RemoteBackend(clock=ScaledClock(SCALE))
        answer = backend.ask(question, server.account(tmp_path / "shared"), lambda: False)
        assert answer
        assert server.key not in repr(answer)
        assert places_with(tmp_path, server.key) == []
