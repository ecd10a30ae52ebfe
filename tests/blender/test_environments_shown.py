# SPDX-License-Identifier: GPL-3.0-or-later
"""How environments are shown: in the sidebar, in the preferences and in the dialog, out of memory alone."""

import builtins
import os
from types import SimpleNamespace

import bpy
import pytest

from tests.support.drawing import Drawing, drawn


@pytest.fixture
def environments(espalier, preferences):
    module = espalier.module("operators.environments")
    yield module
    module.close()


@pytest.fixture
def stand(espalier, environments):
    """Return a function that says how an environment stands."""
    table = espalier.module("engine.environments.status")

    def set_(profile, condition, why=None, download=0, disk=0, unlocked=()):
        found = table.Status(profile, table.Condition(condition), why, download, disk, None, unlocked)
        environments.state.known[profile] = found
        return found

    for profile in environments.BY_PROFILE:
        set_(profile, "ready", disk=400_000_000)
    return set_


@pytest.fixture
def shown(espalier):
    """Return a function that tells what the panel draws now."""
    panel = espalier.module("panels.environments").ESPALIER_PT_environments
    return lambda: drawn(panel, bpy.context.scene, bpy.context.preferences, width=2000)


def error(espalier, code, **fields):
    return espalier.module("engine.errors").EspalierError(code, **fields)


class Task:
    """A task as it stands."""

    def __init__(self, stage="Downloading packages", done=34_000_000, total=120_000_000):
        self.stage, self.done_bytes, self.total_bytes = stage, done, total
        self.fraction = done / total if total else 0.0
        self.closed = self.cancelled = False

    def cancel(self):
        self.cancelled = True

    def close(self):
        self.closed = True


def test_before_the_first_look_nothing_is_claimed(environments, shown):
    drawing = shown()
    assert drawing.texts.count("Not Looked At Yet") == len(environments.KINDS)
    assert not [name for name in drawing.operators if name.endswith("_environment")]
    assert "espalier.look_at_environments" in drawing.operators


def test_what_is_ready_can_be_verified_repaired_and_removed(stand, shown):
    drawing = shown()
    assert {"Background Removal", "TRELLIS.2", "Weights"} <= set(drawing.texts)
    assert drawing.texts.count("Ready") == 3
    assert drawing.operators.count("espalier.verify_environment") == 3
    assert drawing.operators.count("espalier.remove_environment") == 3
    assert "espalier.install_environment" not in drawing.operators


def test_what_can_be_installed_tells_its_size_and_time(stand, shown):
    stand("cpu", "installable", download=194_000_000, disk=679_000_000)
    drawing = shown()
    assert "Not Installed" in drawing.texts
    assert "194 MB to download, 679 MB on the disk, about 46 s." in drawing.texts
    assert drawing.operators.count("espalier.install_environment") == 1


def test_what_came_with_an_offline_zip_has_nothing_to_download(stand, shown):
    stand("cuda", "installable", download=0, disk=9_500_000_000)
    assert "Nothing to download, 9.5 GB on the disk, about 3 min 10 s." in shown().texts


def test_an_interrupted_installation_says_so_and_goes_on(espalier, stand, shown):
    why = error(espalier, "environment_interrupted", profile="cpu")
    stand("cpu", "installable", why, download=60_000_000, disk=679_000_000)
    texts = shown().texts
    assert why.cause in texts
    assert why.remedy in texts
    assert any(text.startswith("60 MB to download") for text in texts)


def test_what_is_broken_tells_why_and_offers_repair(espalier, stand, shown):
    why = error(espalier, "environment_other_python", profile="cpu", theirs="3.11", ours="3.13")
    stand("cpu", "broken", why, download=194_000_000)
    drawing = shown()
    assert "Broken" in drawing.texts
    assert why.cause in drawing.texts
    assert why.remedy in drawing.texts
    assert drawing.operators.count("espalier.repair_environment") == 3  # the other two are ready, and may be, too
    assert drawing.operators.count("espalier.verify_environment") == 2


def test_what_is_impossible_here_tells_why_and_offers_nothing(espalier, stand, shown):
    why = error(espalier, "environment_no_gpu", profile="cuda")
    stand("cuda", "impossible", why)
    drawing = shown()
    assert "Not Possible Here" in drawing.texts
    assert why.cause in drawing.texts
    assert drawing.operators.count("espalier.remove_environment") == 2


def test_packages_without_a_locked_hash_are_named(stand, shown):
    stand("cuda", "installable", download=1, disk=1, unlocked=("o-voxel", "cumesh"))
    (told,) = [text for text in shown().texts if text.startswith("Not locked yet")]
    assert "o-voxel, cumesh" in told


def test_a_task_is_a_bar_with_stage_and_bytes_and_can_be_cancelled(environments, stand, shown):
    environments.state.task, environments.state.act, environments.state.profile = Task(), "install", "cpu"
    drawing = shown()
    assert "Installing" in drawing.texts
    assert "Downloading packages, 34 MB of 120 MB" in drawing.texts
    assert drawing.operators.count("espalier.cancel_environment") == 1
    install = bpy.ops.espalier.install_environment
    assert not install.poll(), "one task at a time"
    assert bpy.ops.espalier.cancel_environment.poll()
    task = environments.state.task
    bpy.ops.espalier.cancel_environment()
    assert task.cancelled


def test_the_header_tells_how_far_it_is(espalier, environments, stand):
    panel = espalier.module("panels.environments").ESPALIER_PT_environments
    environments.state.task, environments.state.profile = Task(), "cpu"
    drawing = Drawing()
    panel.draw_header_preset(SimpleNamespace(layout=drawing), bpy.context)
    assert drawing.texts == ["28%"]


def test_how_a_task_ended_is_told_until_it_is_dismissed(espalier, environments, stand, shown):
    failure = error(espalier, "environment_portal", host="pypi.org", name="numpy")
    environments.state.profile, environments.state.error = "cpu", failure
    assert failure.remedy in shown().texts
    bpy.ops.espalier.dismiss_environment()
    assert failure.remedy not in shown().texts


def test_drawing_reads_no_file_and_asks_nobody(espalier, environments, stand, shown, monkeypatch):
    shown()  # modules are loaded by the first drawing

    def refuse(*arguments, **_options):
        raise AssertionError(f"drawing looked at {arguments}")

    for owner, name in ((os, "stat"), (os, "scandir"), (os, "listdir"), (builtins, "open")):
        monkeypatch.setattr(owner, name, refuse)
    shown()


def test_the_preferences_show_the_same_and_where_things_come_from(espalier, stand, monkeypatch):
    for name in ("UV_INDEX_URL", "PIP_INDEX_URL", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror.example.com/simple/")
    monkeypatch.setenv("HTTPS_PROXY", "http://secret:word@proxy.example.com:3128")
    drawing = _preferences_drawn(espalier)
    assert drawing.texts.count("Ready") == 3
    fields = {"environments_folder", "index_url", "index_ca", "proxy", "hub_url", "hub_token", "allow_unlocked"}
    assert fields <= set(drawing.properties)
    assert any("UV_DEFAULT_INDEX" in text for text in drawing.texts)
    assert any("HTTPS_PROXY" in text for text in drawing.texts)
    assert not any("secret" in text for text in drawing.texts)
    drawing = _preferences_drawn(espalier, index_url="https://other.example.com/simple/")
    assert not any("UV_DEFAULT_INDEX" in text for text in drawing.texts), "the preference counts"


def _preferences_drawn(espalier, **values):
    cls = espalier.module("operators.preferences").EspalierPreferences
    drawing = Drawing()
    blank = dict.fromkeys(cls.__annotations__, "")
    stub = SimpleNamespace(layout=drawing, **{**blank, **values})
    stub._draw_environments = lambda context: cls._draw_environments(stub, context)
    region = SimpleNamespace(width=2000)
    cls.draw(stub, SimpleNamespace(preferences=bpy.context.preferences, region=region))
    return drawing


def test_the_preferences_come_before_the_environment(environments, preferences, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror.example.com/simple/")
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    assert environments.sources().index_url == "https://mirror.example.com/simple/"
    assert environments.sources().hub_token == "hf_environment"
    preferences.index_url, preferences.hub_token = "https://mine.example.com/simple/", "hf_mine"
    assert environments.sources().index_url == "https://mine.example.com/simple/"
    assert environments.sources().hub_token == "hf_mine"
    assert not environments.sources().allow_unlocked
    preferences.allow_unlocked = True
    assert environments.sources().allow_unlocked


def test_the_place_is_the_extensions_own_folder_or_the_persons(environments, preferences, session, tmp_path):
    assert environments.places().root == session.user_folder() / "environments"
    preferences.environments_folder = str(tmp_path / "Räume 場所")
    assert environments.places().root == tmp_path / "Räume 場所"
    assert not environments.places().root.exists(), "looking makes nothing"
    assert environments.known("cpu") is not None, "another place is looked at"


def test_the_dialog_shows_sizes_and_licenses_with_links(espalier, environments, stand, tmp_path, preferences):
    preferences.environments_folder = str(tmp_path)
    operator = espalier.module("operators.installing").ESPALIER_OT_install_environment
    asked = []
    manager = SimpleNamespace(invoke_props_dialog=lambda *a, **words: asked.append(words) or {"RUNNING_MODAL"})
    stub = SimpleNamespace(profile="cuda", bl_label="Install", accept="", ticked=[False] * 16)
    assert operator.invoke(stub, SimpleNamespace(window_manager=manager), None) == {"RUNNING_MODAL"}
    assert asked[0]["title"] == "Install TRELLIS.2"
    licences = environments.state.unagreed
    assert licences, "its programs have licenses"
    stand("cuda", "installable", download=200_000_000, disk=200_000_000)
    stub.layout = Drawing()
    operator.draw(stub, SimpleNamespace(preferences=bpy.context.preferences))
    assert "200MBtodownload" in "".join(stub.layout.texts).replace(" ", "")  # wherever lines are broken
    assert {licence.title for licence in licences} <= set(stub.layout.texts)
    assert stub.layout.properties.count("ticked") == len(licences)
    assert stub.layout.operators.count("wm.url_open") == len(licences)
    assert operator.agreed(stub) == []
    stub.ticked[1] = True
    assert operator.agreed(stub) == [licences[1].name]
    stub.accept = "isnet, u2net"
    assert operator.agreed(stub)[:2] == ["isnet", "u2net"]


def test_the_token_is_a_secret(espalier):
    properties = espalier.module("operators.account").preferences().bl_rna.properties
    assert properties["hub_token"].subtype == "PASSWORD"
