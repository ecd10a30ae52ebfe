# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python the engines run in: that of their environment where it is ready, else Blender's own."""

import importlib
import os
import subprocess
import time
from pathlib import Path

import bpy
import pytest

from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.once


@pytest.fixture
def environments(espalier, preferences, tmp_path):
    preferences.environments_folder = str(tmp_path / "environments")
    module = espalier.module("operators.environments")
    yield module
    module.close()


@pytest.fixture(scope="module")
def interpreter(addon, tmp_path_factory):
    """Return the Python of an environment with all that the draft engine needs: Blender's wheels, by way of a path."""
    launch = importlib.import_module(f"{addon.__name__}.engine.workers.launch").current_launch()
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([launch.python, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    (packages,) = folder.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")
    (packages / "wheels.pth").write_text("\n".join(launch.paths[1:]), "utf-8")
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


@pytest.fixture
def stand(espalier, environments, monkeypatch):
    """Return a function that says how the cpu environment stands on the disk."""
    table = espalier.module("engine.environments.status")

    def set_(condition, python=None):
        def status(profile, _places):
            found = condition if profile == "cpu" else "installable"
            return table.Status(profile, table.Condition(found), None, 0, 0, python, ())

        monkeypatch.setattr(table, "status", status)
        environments.look()

    return set_


def _run(session, picture):
    package = session.__name__.rpartition(".operators")[0]
    table = importlib.import_module(f"{package}.engine.request")
    request = table.GenerationRequest.create(picture, "draft", {"resolution": "512", "texture_size": "1024"})
    return session.submit(request, bpy.context)


def _workers(session):
    return session.session.queue._pool.workers


def _until(session, condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, [(job.state, job.error) for job in session.known_jobs()]
        session.advance()


def _python_of(session, worker):
    """Return the interpreter that a worker's process was started with."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("there is no /proc to look into")
    _until(session, lambda: worker.pid is not None)
    return Path(f"/proc/{worker.pid}/cmdline").read_bytes().split(b"\0")[0].decode()


def test_without_an_environment_the_draft_engine_runs_in_blenders_python(espalier, environments, stand):
    own = espalier.module("engine.workers.launch").current_launch()
    for condition in ("installable", "broken", "impossible"):
        stand(condition)
        assert environments.launch_of("draft") == own
    assert environments.launch_of("remote") == own
    assert environments.launch_of("rebuild") == own


def test_a_ready_environment_gets_the_package_alone_and_the_weights(environments, stand, interpreter, tmp_path):
    stand("ready", interpreter)
    launch = environments.launch_of("draft")
    assert launch.python == str(interpreter)
    assert len(launch.paths) == 1, "no module of Blender's may hide one of the environment's"
    assert os.path.isdir(os.path.join(launch.paths[0], "engine"))
    assert launch.env == {"ESPALIER_WEIGHTS": str(tmp_path / "environments" / "weights")}


def test_an_asset_is_made_in_the_environment(environments, stand, interpreter, session, picture):
    stand("ready", interpreter)
    job = _run(session, picture)
    _until(session, lambda: _workers(session))
    assert _python_of(session, _workers(session)[0]) == str(interpreter)
    assert session.wait_for(job).state == "ready", session.known_jobs()[0].error


def test_an_environment_deleted_by_hand_is_noticed_by_the_next_job(espalier, environments, stand, interpreter):
    stand("ready", interpreter)
    assert environments.launch_of("draft").python == str(interpreter)
    stand("installable")
    assert environments.launch_of("draft") == espalier.module("engine.workers.launch").current_launch()
    assert environments.known("cpu").condition == "installable"


def test_the_next_job_uses_what_was_installed_and_the_running_one_is_not_disturbed(
    environments, stand, interpreter, session, picture
):
    stand("installable")
    first = _run(session, picture)
    _until(session, lambda: session.known_job(first).state == "running")
    (worker,) = _workers(session)
    second = _run(session, picture)
    stand("ready", interpreter)
    session.renew(["draft"])
    _until(session, lambda: not session.known_job(first).active)
    assert session.known_job(first).state == "ready", "it went on in its own process"
    _until(session, lambda: worker.ended and _workers(session))
    assert _python_of(session, _workers(session)[0]) == str(interpreter)
    assert session.wait_for(second).state == "ready"


def test_an_idle_worker_is_let_go_at_once(environments, stand, session, picture):
    stand("installable")
    session.wait_for(_run(session, picture))
    (worker,) = _workers(session)
    assert worker.idle
    session.renew(["remote"])
    session.advance()
    assert worker.idle, "only the engines that are meant"
    session.renew(["draft"])
    _until(session, lambda: worker.ended)


def test_what_a_job_uses_is_not_taken_from_it(espalier, environments, stand, interpreter, session, picture):
    stand("ready", interpreter)
    job = _run(session, picture)
    error = espalier.module("engine.errors").EspalierError
    for act in ("repair", "remove"):
        with pytest.raises(error, match="in use"):
            environments.begin(act, "cpu")
    session.wait_for(job)
