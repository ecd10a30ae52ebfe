# SPDX-License-Identifier: GPL-3.0-or-later
"""Every profile, made by the real uv out of wheels that a real index on loopback serves, or that came along."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.environments import licences
from engine.environments.places import Places
from engine.environments.sources import Sources
from engine.environments.status import Condition
from engine.errors import EspalierError
from tests.engine.environment_harness import CLOSED, House, finish, machine
from tests.support.index_server import serving
from tests.support.tiny_wheels import EXPLICIT, entry, profile_wheels, write_lock

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def with_a_graphics_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_ASSUME_GPU", "1")


@pytest.mark.parametrize(("profile", "json"), [("cpu", True), ("cpu", False), ("cuda", True)])
def test_each_profile_is_installed_from_an_index(tmp_path: Path, profile: str, json: bool) -> None:
    house = House(tmp_path, profile)
    with serving(house.offer) as index, serving(house.own) as own:
        index.json = own.json = json
        house.lock(own)
        house.accept()
        before = house.status
        size = sum(path.stat().st_size for path in house.wheels.values())
        assert (before.condition, before.why, before.python) == (Condition.INSTALLABLE, None, None)
        assert before.download_bytes == size
        seen: list[tuple[str, int, int]] = []
        words = house.run("install", index.url, lambda *told: seen.append(told))
        assert str(len(house.wheels)) in words[0]
        downloaded = [told for told in seen if told[0] == "Downloading"]
        assert downloaded[-1][1:] == (size, size)
        assert [done for _, done, _ in downloaded] == sorted(done for _, done, _ in downloaded)
        assert house.ready()
        asked = len(index.asked) + len(own.asked)
        assert house.run("install", CLOSED) == [f"The environment {profile} is installed already."]
        assert "as they were installed" in house.run("verify", CLOSED)[0]
        assert len(index.asked) + len(own.asked) == asked
    python = house.status.python
    assert python is not None
    packages = subprocess.run(
        [python, "-I", "-c", "import rembg, sys; print(rembg.__file__, sys.prefix)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert packages.stdout.count(str(house.places.environment(profile))) == 2
    assert house.run("remove", CLOSED)
    assert house.status.condition is Condition.INSTALLABLE
    assert not list(house.places.downloads.glob("*"))


def test_nothing_else_on_the_machine_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    for folder in (home, temporary):
        folder.mkdir()
    (home / ".bashrc").write_text("export A=1\n")
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(temporary))
    house = House(tmp_path)
    before = machine(home, temporary, house.folder / "wheels")
    with serving(house.offer) as index:
        house.lock()
        for act in ("install", "verify", "remove", "repair"):
            task = finish(house.task(act, index.url))
            assert task.error is None
            assert task.words
    assert house.ready()
    assert machine(home, temporary, house.folder / "wheels") == before


def test_the_settings_of_a_person_for_uv_and_pip_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    elsewhere = str(tmp_path / "elsewhere")
    for name, value in {
        "UV_FIND_LINKS": elsewhere,
        "UV_INDEX": CLOSED,
        "UV_NO_BINARY": "1",
        "UV_TARGET": elsewhere,
        "UV_CONSTRAINT": elsewhere,
        "UV_PYTHON": "2.7",
        "UV_SYSTEM_PYTHON": "1",
        "UV_LINK_MODE": "x",
        "PIP_NO_BINARY": ":all:",
        "PYTHONPATH": elsewhere,
        "VIRTUAL_ENV": elsewhere,
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "uv.toml").write_text("no-binary = true\n")
    monkeypatch.chdir(tmp_path)
    with serving(house.offer) as index:
        house.lock()
        house.run("install", index.url)
    assert house.ready()
    assert not (tmp_path / "elsewhere").exists()


def test_wheels_that_came_along_need_no_network(tmp_path: Path) -> None:
    house = House(tmp_path, "cuda")
    shutil.copytree(house.folder / "wheels", tmp_path / "zip")
    house.places = Places(house.places.root, (*house.places.bundled, tmp_path / "zip"), house.places.locks)
    with serving(house.offer) as index, serving(house.own) as own:
        house.lock(own)
        house.accept()
        assert house.status.download_bytes == 0
        house.run("install", CLOSED)
        assert not index.asked
        assert not own.asked
    assert house.ready()
    assert not house.places.downloads.exists()


def test_a_wheel_that_came_along_damaged_is_fetched(tmp_path: Path) -> None:
    house = House(tmp_path)
    shutil.copytree(house.folder / "wheels", tmp_path / "zip")
    damaged = tmp_path / "zip" / house.wheels["rembg"].name
    data = damaged.read_bytes()
    damaged.write_bytes(bytes(reversed(data)))
    house.places = Places(house.places.root, (*house.places.bundled, tmp_path / "zip"), house.places.locks)
    with serving(house.offer) as index:
        house.lock()
        house.run("install", index.url)
        assert index.asked_for("rembg")
    assert house.ready()
    assert damaged.read_bytes() == bytes(reversed(data))


def test_what_is_not_locked_is_refused_unless_the_person_allows_it(tmp_path: Path) -> None:
    house = House(tmp_path, "cuda")
    why = "The index could not be reached when this list was made."
    with serving(house.offer) as index, serving(house.own) as own:
        own.states_hashes = False
        packages = [
            entry(name, None, f"{own.url}{name}/", why=why) if name in EXPLICIT else entry(name, path)
            for name, path in house.wheels.items()
        ]
        write_lock(house.places.locks, "cuda", packages)
        house.accept()
        assert set(house.status.unlocked) == set(EXPLICIT)
        with pytest.raises(EspalierError) as caught:
            house.run("install", index.url)
        assert caught.value.code == "environment_unlocked"
        assert "the index could not be reached when this list was made." in str(caught.value)
        assert not index.asked
        assert not own.asked
        words = house.run("install", index.url, allow_unlocked=True)
        assert "o-voxel" in words[1]
        assert not any(index.asked_for(name) for name in EXPLICIT)
        assert house.ready()
        stamp = (house.places.environment("cuda") / "espalier.json").read_text()
        assert all(entry(name, house.wheels[name])["sha256"] in stamp for name in EXPLICIT)
        # What was fetched serves a repair without the network.
        shutil.rmtree(house.places.environment("cuda"))
        house.run("repair", CLOSED, allow_unlocked=True)
    assert house.ready()


def test_an_optional_license_that_is_not_accepted_leaves_its_package_out(tmp_path: Path) -> None:
    house = House(tmp_path, "cuda")
    with serving(house.offer) as index, serving(house.own) as own:
        house.lock(own)
        with pytest.raises(EspalierError, match="license") as caught:
            house.run("install", index.url)
        assert caught.value.code == "license_not_accepted"
        assert not index.asked + own.asked
        licences.accept(house.places, [item.name for item in licences.needed("cuda") if item.name != "nvdiffrast"])
        house.run("install", index.url)
        assert house.ready()
        assert not own.asked_for("nvdiffrast")
        house.accept()
        assert house.status.condition is Condition.BROKEN
        house.run("repair", index.url)
        assert own.asked_for("nvdiffrast")
    assert house.ready()


def test_an_update_of_the_list_is_a_repair_that_fetches_only_what_is_new(tmp_path: Path) -> None:
    house = House(tmp_path)
    with serving(house.offer) as index:
        house.lock()
        house.run("install", index.url)
        newer = profile_wheels(tmp_path / "newer", "cpu", "1.1")
        wheels = {**house.wheels, "rembg": newer["rembg"]}
        house.offer.add("rembg", newer["rembg"])
        house.lock(wheels=wheels)
        assert house.status.why is not None
        assert house.status.why.code == "environment_outdated"
        index.asked.clear()
        house.run("repair", index.url)
        assert index.asked == ["/simple/rembg/", f"/files/rembg/{newer['rembg'].name}"]
        assert house.ready()
        # The older wheel is of no use any more.
        assert not list(house.places.downloads.rglob(house.wheels["rembg"].name))


def test_a_password_in_the_address_of_the_index_is_never_written_down(tmp_path: Path) -> None:
    house = House(tmp_path)
    with serving(house.offer) as index:
        house.lock()
        url = index.url.replace("http://", "http://someone:hush-hush@")
        task = finish(house.task("install", url))
        assert task.error is None
        assert any("authorization" in headers for headers in index.headers_seen)
    with serving(house.offer) as index:
        house.run("remove", CLOSED)
        # It does not speak https there: what the libraries say of it is noted, and names the address.
        task = house.task("install", index.url.replace("http://", "https://someone:hush-hush@"))
        finish(task, lambda task: task.finished)
        assert task.error is not None
        assert task.error.code == "environment_tls"
        assert "127.0.0.1" in task.error.detail
        assert "hush" not in f"{task.error} {task.error.detail} {task.error.fields}"
    written = [path for path in house.places.root.rglob("*") if path.is_file() and path.stat().st_size < 10**6]
    assert not [path for path in written if b"hush-hush" in path.read_bytes()]
    assert "hush" not in repr(Sources(index_url=url))


def test_preferences_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_", "HF_")) or name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name)
    assert Sources.from_environment() == Sources()
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example/simple")
    assert Sources.from_environment().index_url == "https://pip.example/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "ours=https://uv.example/simple?a=b")
    monkeypatch.setenv("SSL_CERT_FILE", "bundle.pem")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = Sources.from_environment(index_url="", allow_unlocked=True)
    assert found.index_url == "https://uv.example/simple?a=b"
    assert (found.ca_bundle, found.hub_token, found.allow_unlocked) == ("bundle.pem", "hf_secret", True)
    assert Sources.from_environment(index_url="https://a.example/").index_url == "https://a.example/"
    assert "hf_secret" not in repr(found)
    with pytest.raises(TypeError):
        Sources.from_environment(colour="red")
