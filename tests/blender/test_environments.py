# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments from Blender's side: installed by the real task out of tiny wheels that an index on loopback serves."""

import json
import os
import signal
import threading
import time
from types import SimpleNamespace

import bpy
import pytest

from tests.support.index_server import Fault, Offer, serving
from tests.support.tiny_wheels import entry, profile_wheels, uv_folder, write_lock
from tests.support.waiting import PATIENCE_S, wait_for

PUBLIC = "https://packages.example.com/simple/"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    if uv_folder() is None:
        pytest.skip("uv's wheel does not lie in wheels/ (make wheels)")
    return profile_wheels(tmp_path_factory.mktemp("wheels"), "cpu", payload=20_000)


@pytest.fixture
def index(wheels):
    offer = Offer()
    for name, path in wheels.items():
        offer.add(name, path)
    with serving(offer) as server:
        yield server


@pytest.fixture
def environments(espalier, preferences, index, wheels, tmp_path, monkeypatch):
    """Return the module, with a place of its own, a lock of tiny wheels and the index on loopback."""
    write_lock(tmp_path / "locks", "cpu", [entry(name, path) for name, path in wheels.items()])
    preferences.index_url = index.url
    module = espalier.module("operators.environments")
    table = espalier.module("engine.environments.places")
    places = table.Places(tmp_path / "Umgebungen 環境", (uv_folder(),), tmp_path / "locks")
    monkeypatch.setattr(module, "places", lambda: places)
    module.close()
    yield module
    espalier.module("operators.environments").close()


@pytest.fixture
def main(espalier, environments):
    return espalier.module("operators.command").main


@pytest.fixture
def refused(espalier):
    return espalier.module("engine.errors").EspalierError


def _condition(environments, profile="cpu"):
    return str(environments.fresh(profile).condition)


def _until(environments, condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        task = environments.state.task
        assert time.monotonic() < end, task and (task.stage, task.done_bytes, task.total_bytes)
        environments.step()
        time.sleep(0.01)


def _slow(index, step=500):
    index.faults.append(Fault("/files/", "slow", times=-1, seconds=0.05, step=step))


def test_one_button_makes_it_ready_and_others_verify_repair_and_remove_it(environments, index):
    assert _condition(environments) == "installable"
    assert bpy.ops.espalier.install_environment("EXEC_DEFAULT", profile="cpu") == {"FINISHED"}
    status = environments.known("cpu")
    assert status.condition == "ready"
    assert status.python.exists()
    assert environments.state.told[0].startswith("The environment cpu is ready")
    asked = len(index.asked)
    assert bpy.ops.espalier.verify_environment("EXEC_DEFAULT", profile="cpu") == {"FINISHED"}
    assert "as they were installed" in environments.state.told[0]
    victim = next(environments.places().environment("cpu").rglob("numpy/__init__.py"))
    victim.write_text("changed", "utf-8")
    with pytest.raises(RuntimeError, match="changed or missing"):
        bpy.ops.espalier.verify_environment("EXEC_DEFAULT", profile="cpu")
    assert environments.known("cpu").condition == "broken"
    assert bpy.ops.espalier.repair_environment("EXEC_DEFAULT", profile="cpu") == {"FINISHED"}
    assert environments.known("cpu").condition == "ready"
    assert len(index.asked) == asked, "nothing is downloaded twice"
    assert bpy.ops.espalier.remove_environment("EXEC_DEFAULT", profile="cpu") == {"FINISHED"}
    assert environments.known("cpu").condition == "installable"


@pytest.mark.once
def test_blender_is_free_meanwhile_and_another_file_may_be_opened(espalier, environments):
    start = time.monotonic()
    environments.begin("install", "cpu")
    assert time.monotonic() - start < 5.0, "it has only been started"
    assert environments.state.working
    espalier.open_empty_file()
    _until(environments, lambda: not environments.state.working)
    assert environments.state.error is None
    assert environments.known("cpu").condition == "ready"


@pytest.mark.once
def test_cancel_is_at_once_and_the_next_install_goes_on(environments, index):
    _slow(index)
    environments.begin("install", "cpu")
    _until(environments, lambda: environments.state.task.done_bytes > 30_000)
    environments.cancel()
    start = time.monotonic()
    _until(environments, lambda: not environments.state.working)
    assert time.monotonic() - start < 10.0
    assert environments.state.error is None
    assert environments.state.told == (environments.STOPPED,)
    assert _condition(environments) == "installable"
    index.faults.clear()
    sent, left = index.sent, environments.known("cpu").download_bytes
    environments.begin("install", "cpu")
    environments.wait()
    assert environments.known("cpu").condition == "ready", environments.state.error
    assert index.sent - sent < left + 30_000, "what had been downloaded is used"


def test_disabling_the_addon_ends_the_task(espalier, environments, index):
    _slow(index)
    environments.begin("install", "cpu")
    task = environments.state.task
    _until(environments, lambda: task.done_bytes > 0)
    pid = task.pid
    espalier.disable()
    try:
        assert environments.state.task is None
        wait_for(lambda: not _alive(pid), told=lambda: "the child outlives the add-on")
    finally:
        espalier.enable()


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        if os.path.isdir("/proc/self"):
            return False
    pytest.skip("there is no /proc to look into")


@pytest.mark.once
def test_without_online_access_nothing_is_asked_and_the_preference_is_named(environments, preferences, refused):
    preferences.index_url = PUBLIC
    assert not bpy.app.online_access
    with pytest.raises(RuntimeError, match=r"packages\.example\.com.*System > Network"):
        bpy.ops.espalier.install_environment("EXEC_DEFAULT", profile="cpu")
    assert environments.state.task is None
    assert environments.state.error.code == "install_offline"
    with pytest.raises(refused):
        environments.begin("repair", "cpu")


@pytest.mark.once
def test_where_the_command_line_decided_that_is_named(environments, preferences, refused, monkeypatch):
    preferences.index_url = PUBLIC
    app = SimpleNamespace(online_access=False, online_access_override=True, background=True)
    monkeypatch.setattr(environments, "bpy", SimpleNamespace(app=app, context=bpy.context, path=bpy.path))
    with pytest.raises(refused, match="--offline-mode"):
        environments.begin("install", "cpu")


@pytest.mark.once
def test_what_came_with_the_zip_needs_no_network(espalier, environments, preferences, wheels, monkeypatch):
    preferences.index_url = PUBLIC
    table = espalier.module("engine.environments.places")
    here = environments.places()
    folders = (uv_folder(), next(iter(wheels.values())).parent)
    monkeypatch.setattr(environments, "places", lambda: table.Places(here.root, folders, here.locks))
    assert environments.fresh("cpu").download_bytes == 0
    assert bpy.ops.espalier.install_environment("EXEC_DEFAULT", profile="cpu") == {"FINISHED"}
    assert environments.known("cpu").condition == "ready"


@pytest.mark.once
def test_a_fault_is_told_with_its_remedy_and_the_button_goes_on(environments, index):
    index.faults.append(Fault("/simple/", "portal", times=-1))
    with pytest.raises(RuntimeError, match="Sign in to the network"):
        bpy.ops.espalier.install_environment("EXEC_DEFAULT", profile="cpu")
    assert environments.state.error.code == "environment_portal"
    index.faults.clear()
    assert bpy.ops.espalier.install_environment("EXEC_DEFAULT", profile="cpu") == {"FINISHED"}
    assert environments.state.error is None


@pytest.mark.once
def test_licenses_are_asked_for_before_anything_and_remembered(espalier, environments, refused, monkeypatch):
    monkeypatch.setenv("ESPALIER_ASSUME_GPU", "1")
    licences = espalier.module("engine.environments.licences")
    with pytest.raises(refused) as caught:
        environments.begin("install", "cuda")
    assert caught.value.code == "license_not_accepted"
    assert not environments.state.working
    names = [licence.name for licence in environments.find_unagreed("cuda")]
    assert set(names) == {licence.name for licence in licences.needed("cuda")}
    with pytest.raises(refused, match="license called"):
        environments.begin("install", "cuda", ["no-such-license"])
    with pytest.raises(RuntimeError, match=r"cuda"):  # there is no lock of it here
        bpy.ops.espalier.install_environment("EXEC_DEFAULT", profile="cuda", accept=",".join(names))
    assert not environments.find_unagreed("cuda"), "they are remembered"


@pytest.mark.once
def test_the_command_installs_verifies_and_removes(main, environments, index, capfd):
    _slow(index, step=10_000)
    assert main(["install", "cpu", "--yes"]) == 0
    text = capfd.readouterr().out
    assert "cpu: Background Removal: Not Installed" in text
    assert "to download" in text
    assert "cpu: Downloading" in text
    assert "cpu: The environment cpu is ready" in text
    assert "\r" not in text, "no terminal, no bar"
    assert main(["install", "cpu", "--yes"]) == 0
    assert "installed already" in capfd.readouterr().out
    assert main(["install", "cpu", "--verify"]) == 0
    assert "as they were installed" in capfd.readouterr().out
    assert main(["install", "--list"]) == 0
    assert "cpu: Background Removal: Ready" in capfd.readouterr().out
    assert main(["install", "cpu", "--remove"]) == 2, "it asks first"
    assert main(["install", "cpu", "--remove", "--yes"]) == 0
    assert _condition(environments) == "installable"


@pytest.mark.once
def test_the_command_speaks_json(main, environments, index, capfd):
    _slow(index, step=10_000)
    assert main(["install", "cpu", "--yes", "--json"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert events[0]["event"] == "environment"
    assert events[0]["condition"] == "installable"
    assert events[0]["download_bytes"] > 0
    progress = [event for event in events if event["event"] == "progress"]
    assert {event["stage"] for event in progress} >= {"Downloading", "Installing"}
    assert all(0.0 <= event["fraction"] <= 1.0 for event in progress)
    assert events[-1]["event"] == "done"


@pytest.mark.once
def test_without_a_terminal_the_command_asks_for_yes(main, environments, index, capfd):
    assert main(["install", "cpu"]) == 2
    told = capfd.readouterr()
    assert "--yes" in told.err
    assert "to download" in told.out + told.err
    assert not index.asked
    assert not environments.places().root.exists()


@pytest.mark.once
def test_the_command_takes_an_index_of_its_own(main, environments, preferences, index, capfd):
    preferences.index_url = PUBLIC
    assert main(["install", "cpu", "--yes"]) == 1
    assert "--online-mode" in capfd.readouterr().err
    assert main(["install", "cpu", "--yes", "--index-url", index.url]) == 0
    assert preferences.index_url == PUBLIC, "the preferences stay as they are"


@pytest.mark.once
def test_ctrl_c_stops_the_command_and_the_same_command_goes_on(main, environments, index, capfd):
    _slow(index)

    def interrupt():
        while not environments.state.working or environments.state.task.done_bytes < 30_000:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    assert main(["install", "cpu", "--yes"]) == 1
    thread.join(10)
    told = capfd.readouterr().err
    assert "was stopped" in told
    assert "same command" in told
    index.faults.clear()
    sent = index.sent
    assert main(["install", "cpu", "--yes"]) == 0
    assert index.sent < sent + sum(map(len, (data for files in index.offer.files.values() for data in files.values())))


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["install"], "cpu, cuda, weights"),
        (["install", "gpu", "--yes"], "no environment called gpu"),
        (["install", "cpu", "--verify", "--remove"], "not allowed with"),
        (["install", "cpu", "--fast"], "--fast is not understood"),
    ],
)
def test_wrong_arguments_are_told(main, arguments, word, capfd):
    assert main(arguments) == 2
    assert word in capfd.readouterr().err


@pytest.mark.once
def test_the_command_shows_licenses_and_takes_them_by_name(main, environments, monkeypatch, capfd):
    monkeypatch.setenv("ESPALIER_ASSUME_GPU", "1")
    assert main(["install", "weights", "--yes"]) == 1, "nothing needs them yet"
    assert "Install cpu" in capfd.readouterr().err
    assert main(["install", "cpu", "--yes"]) == 0
    capfd.readouterr()
    assert main(["install", "weights", "--yes"]) == 2
    told = capfd.readouterr()
    assert "--accept" in told.err
    assert "https://" in told.out
    assert "IS-Net" in told.out


@pytest.mark.once
def test_the_command_tells_how_each_stands(main, environments, capfd):
    assert main(["install", "--list", "--json"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [event["profile"] for event in events] == ["cpu", "cuda", "weights"]
    assert [event["condition"] for event in events] == ["installable", "impossible", "impossible"]
    assert main(["install", "cuda", "--yes"]) == 1
    assert "cuda" in capfd.readouterr().err
