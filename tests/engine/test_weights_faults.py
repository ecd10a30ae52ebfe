# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine and the network do to a download of weights: killed, full, read-only, proxies, certificates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.environments import weights
from engine.environments.status import Condition
from engine.environments.weights_catalogue import FILES
from engine.errors import EspalierError
from tests.support import certificates, weights_setup
from tests.support.hub_server import Fault
from tests.support.waiting import PATIENCE_S, wait_for
from tests.support.weights_setup import TRELLIS, Setup

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="the Hugging Face client is not installed"),
]
ROOT = Path(__file__).resolve().parents[2]
FLOW = "flow.safetensors"
TOKEN = "hf_a_secret_of_mine"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    with weights_setup.prepared(tmp_path, monkeypatch) as made:
        yield made


def fails(setup: Setup, act: weights_setup.Act = "install", check: Callable[[], None] = lambda: None) -> EspalierError:
    with pytest.raises(EspalierError) as caught:
        setup.run(act, check=check)
    return caught.value


def start(setup: Setup) -> subprocess.Popen[str]:
    """Fetch the weights in another process."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.weights_setup"], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    order = {"hub": setup.hub.url, "store": setup.hub.store_url, "root": str(setup.root), "token": setup.token}
    child.stdin.write(json.dumps(order) + "\n")
    child.stdin.flush()
    return child


def part(setup: Setup) -> Path | None:
    return next((path for path in setup.root.rglob(f".{FLOW}.*.part") if path.stat().st_size == 200_000), None)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked at in /proc")
def test_killed_in_the_middle_it_goes_on_where_it_was_and_no_process_stays(setup: Setup) -> None:
    setup.hub.spoil(FLOW, Fault("hold", 0.5))
    setup.token = TOKEN
    setup.hub.tokens[TOKEN] = {TRELLIS}
    setup.hub.repos[TRELLIS].gated = True
    child = start(setup)
    wait_for(lambda: setup.hub.holding.is_set() and part(setup) is not None)
    helpers = [path for path in Path("/proc").glob("[0-9]*") if _speaks_of(path, str(setup.root), child.pid)]
    assert len(helpers) == 1
    for path in (*helpers, Path("/proc", str(child.pid))):
        for name in ("cmdline", "environ"):
            assert TOKEN.encode() not in (path / name).read_bytes()
    assert weights.status_of(setup.places).condition is Condition.INSTALLABLE
    assert fails(setup).code == "environment_busy"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()
    wait_for(lambda: not any(path.exists() and _alive(path) for path in helpers))
    assert TOKEN.encode() not in setup.places.log.read_bytes() if setup.places.log.exists() else True
    before = setup.hub.sent(FLOW)
    setup.hub.release.set()
    setup.run()
    assert setup.hub.sent(FLOW) - before == 200_000
    assert weights.status_of(setup.places).condition is Condition.READY


def _speaks_of(process: Path, text: str, parent: int) -> bool:
    """Tell whether `process` was started by `parent`."""
    try:
        return f"PPid:\t{parent}\n" in (process / "status").read_text()
    except OSError:
        return False


def _alive(process: Path) -> bool:
    try:
        return "State:\tZ" not in (process / "status").read_text()
    except OSError:
        return False


def test_one_that_ends_well_in_another_process(setup: Setup) -> None:
    child = start(setup)
    out, _ = child.communicate(timeout=PATIENCE_S)
    assert "The weights are complete" in out
    assert weights.status_of(setup.places).condition is Condition.READY


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=66m", "none", str(place)], capture_output=True) \
        if sys.platform == "linux" else None  # fmt: skip
    if done is None or done.returncode:
        pytest.skip("a small file system can be mounted only by root on Linux")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(setup: Setup, small_disk: Path) -> None:
    setup.root = small_disk
    (small_disk / "others").write_bytes(bytes(2_000_000))
    error = fails(setup)
    assert error.code == "environment_space"
    assert str(small_disk) in error.cause
    assert not setup.hub.sent()


def test_a_disk_that_fills_up_meanwhile(setup: Setup, small_disk: Path) -> None:
    setup.root = small_disk
    setup.hub.spoil(FLOW, Fault("hold", 0.5))
    filler = small_disk / "others"

    def check() -> None:
        if setup.hub.holding.is_set() and part(setup) is not None and not filler.exists():
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(1 << 16))
                except OSError:
                    pass
            setup.hub.release.set()

    error = fails(setup, check=check)
    assert error.code == "disk_full"
    filler.unlink()
    before = setup.hub.sent(FLOW)
    setup.run("repair")
    assert setup.hub.sent(FLOW) - before <= 200_000
    assert weights.status_of(setup.places).condition is Condition.READY


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders are made read-only the POSIX way")
def test_a_place_that_may_not_be_written(setup: Setup, tmp_path: Path) -> None:
    setup.root.mkdir()
    (setup.root / "weights").write_text("a file where the folder should be")
    assert fails(setup).code == "output_unwritable"
    (setup.root / "weights").unlink()
    setup.run()
    assert weights.status_of(setup.places).condition is Condition.READY


def test_a_proxy_is_used_and_its_password_stays_secret(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    real = setup.hub.url
    setup.proxy = real.replace("//", "//me:secret@")
    setup.hub.url = "http://hub.invalid"
    setup.run()
    assert weights.status_of(setup.places).condition is Condition.READY
    proxied = [seen for seen in setup.hub.seen if seen.path.startswith("http://hub.invalid/")]
    assert proxied
    assert all("proxy-authorization" in seen.headers for seen in proxied)
    setup.run("remove")
    setup.hub.url = "https://hub.invalid"  # needs CONNECT, which this one refuses
    error = fails(setup)
    assert error.code == "weights_proxy"
    setup.proxy = "http://me:secret@127.0.0.1:1"
    dead = fails(setup)
    assert dead.code == "weights_unreachable"
    assert "secret" not in "".join((str(error), error.detail, str(dead), dead.detail))
    for path in setup.root.rglob("*"):
        assert not path.is_file() or b"secret" not in path.read_bytes()


@pytest.mark.skipif(not certificates.AVAILABLE, reason="the openssl program is missing")
def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = certificates.authority(tmp_path / "ca")
    with weights_setup.prepared(tmp_path, monkeypatch, authority.issue("good")) as setup:
        error = fails(setup)
        assert error.code == "weights_tls"
        assert "CA bundle" in error.remedy
        setup.ca_bundle = str(tmp_path / "none.pem")
        assert fails(setup).code == "environment_ca"
        setup.ca_bundle = str(authority.bundle)
        setup.run()
        assert weights.status_of(setup.places).condition is Condition.READY
    with weights_setup.prepared(tmp_path / "late", monkeypatch, authority.issue("late", days=-1)) as setup:
        setup.ca_bundle = str(authority.bundle)
        error = fails(setup)
        assert error.code == "weights_tls"
        assert "expired" in error.cause
        assert "clock" in error.remedy


def test_a_client_that_is_missing_or_a_python_that_does_not_start(setup: Setup, tmp_path: Path) -> None:
    weights.environments = lambda places: {"cpu": tmp_path / "gone" / "python"}
    assert fails(setup).code == "weights_stopped"
    assert weights.status_of(setup.places).condition is Condition.INSTALLABLE


def test_how_it_stands_is_told_in_milliseconds(setup: Setup) -> None:
    setup.run()
    best = min(_seconds(lambda: weights.status_of(setup.places)) for _ in range(20))
    assert best < 0.25
    assert set(FILES) == {"cpu", "cuda"}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
