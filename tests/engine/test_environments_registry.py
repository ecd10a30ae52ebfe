# SPDX-License-Identifier: GPL-3.0-or-later
"""The real `cpu` profile from the real registry, by the lock that comes along: chosen with `-m registry`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import requests

from engine.environments.order import Order
from engine.environments.places import Places
from engine.environments.sources import Sources
from engine.environments.status import Condition, status
from engine.environments.task import Task
from engine.workers.launch import Launch
from tests.engine.environment_harness import CLOSED, bundled, finish, machine

LONG_S = 1200.0
"""Packages that compile themselves when they are first loaded take minutes on a busy machine."""
USE = """
import importlib.util, numpy, onnxruntime, scipy.ndimage, PIL.Image
import huggingface_hub, igl, pyamg, fast_simplification, uvunwrap
assert importlib.util.find_spec("rembg")  # it compiles itself for a minute when it is loaded
assert "CPUExecutionProvider" in onnxruntime.get_available_providers()
print(numpy.__version__, onnxruntime.__version__)
"""


@pytest.mark.registry
def test_the_cpu_profile_is_installed_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Sources.from_environment()
    try:
        verify = sources.ca_bundle or True
        requests.get(f"{sources.index_url.rstrip('/')}/rembg/", timeout=20, verify=verify).raise_for_status()
    except requests.RequestException as error:
        pytest.skip(f"the registry cannot be reached: {error!r:.200}")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    before = machine(home)
    places = Places(tmp_path / "root", bundled())
    offered = status("cpu", places)
    assert offered.condition is Condition.INSTALLABLE
    task = finish(Task(Order("install", "cpu"), places, sources), patience_s=LONG_S)
    assert task.error is None
    found = status("cpu", places)
    assert (found.condition, found.why) == (Condition.READY, None)
    assert found.python is not None
    print(f"{offered.download_bytes} bytes to fetch, {offered.disk_bytes} estimated, {found.disk_bytes} taken")
    assert offered.disk_bytes / 2 < found.disk_bytes < offered.disk_bytes * 1.5
    # As a worker does: ONNX Runtime would write into the home, and tell its makers what it finds.
    environment = Launch(str(found.python), ()).environment(1)
    done = subprocess.run([found.python, "-I", "-c", USE], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    print(done.stdout, *task.words)
    assert (
        "as they were installed"
        in finish(Task(Order("verify", "cpu"), places, Sources(CLOSED)), patience_s=LONG_S).words[0]
    )
    # What was fetched is enough to make it again without a network.
    (places.environment("cpu") / "espalier.json").unlink()
    assert finish(Task(Order("repair", "cpu"), places, Sources(CLOSED)), patience_s=LONG_S).error is None
    assert status("cpu", places).condition is Condition.READY
    assert machine(home) == before
