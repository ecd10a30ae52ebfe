# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks are read with care, names of wheels as the standard says, and status is told quickly and truthfully."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.environments import platforms
from engine.environments.lock import read_lock
from engine.environments.places import LOCKS, Places
from engine.environments.platforms import LINUX, MACOS, WINDOWS, described, this_platform, this_python
from engine.environments.profiles import PROFILES
from engine.environments.status import Condition, status
from engine.environments.wheel import normalized, parse_wheel, version_key
from engine.errors import EspalierError
from engine.words import size_words
from tests.support.tiny_wheels import EXPLICIT, write_lock

PACKAGE = {
    "name": "rembg",
    "version": "2.0",
    "source": "registry",
    "file": "rembg-2.0-py3-none-any.whl",
    "sha256": "ab" * 32,
    "size": 5,
}
UNLOCKED = {**PACKAGE, "source": "https://a.example/x/", "file": None, "sha256": None, "size": None}


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.json")), ids=lambda path: path.stem)
def test_the_locks_that_come_along_are_sound(path: Path) -> None:
    lock = read_lock(path)
    profile = PROFILES[lock.profile]
    names = {package.name for package in lock.packages}
    tried = set(profile.loaded) | set(profile.found)
    assert tried <= names, tried - names
    assert lock.platform in profile.platforms
    for package in lock.packages:
        if package.locked:
            wheel = parse_wheel(str(package.file))
            assert wheel is not None
            assert wheel.name == package.name
            assert wheel.runs(lock.python, lock.platform), package
        else:
            assert package.name in EXPLICIT or package.source != "registry"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Rembg"}, {"name": "../rembg"}, {"version": 2}, {"source": "http://a.example/"}, {"source": "ftp://a/"},
        {"file": "../../evil.whl"}, {"file": "rembg-2.0.tar.gz"}, {"sha256": "AB" * 32}, {"sha256": "ab"},
        {"sha256": None}, {"size": None}, {"size": "many"}, {"file": None}, {"source": None},
        {"sha256": None, "file": None, "size": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_lock_that_is_not_sound_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_lock(tmp_path, "cpu", [{**PACKAGE, **change}])
    with pytest.raises(EspalierError) as caught:
        read_lock(path)
    assert caught.value.code == "environment_lock"
    assert status("cpu", Places(tmp_path / "root", locks=tmp_path)).condition is Condition.IMPOSSIBLE


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"packages": 3}', "\ud800", "[" * 100_000])
def test_rubbish_is_no_lock(tmp_path: Path, text: str) -> None:
    path = tmp_path / f"cpu-{this_python()}-{this_platform()}.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(EspalierError) as caught:
        read_lock(path)
    assert caught.value.code == "environment_lock"


def test_a_lock_of_another_environment_or_with_a_package_twice_is_refused(tmp_path: Path) -> None:
    for packages in ([], [PACKAGE, PACKAGE]):
        with pytest.raises(EspalierError):
            read_lock(write_lock(tmp_path, "cpu", packages))
    path = write_lock(tmp_path, "cpu", [PACKAGE, {**UNLOCKED, "name": "x"}])
    assert len(read_lock(path).unlocked) == 1
    moved = path.rename(path.with_name("cuda-3.11-linux-x64.json"))
    with pytest.raises(EspalierError):
        read_lock(moved)


def test_what_cannot_be_installed_here_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lock(tmp_path, "cpu", [PACKAGE], "3.11", LINUX)
    write_lock(tmp_path, "cpu", [PACKAGE], "3.13", LINUX)
    write_lock(tmp_path, "cuda", [PACKAGE, {**UNLOCKED, "name": "cumesh"}])
    places = Places(tmp_path / "root", locks=tmp_path)

    def told(profile: str, python: str = "", platform: str = "") -> tuple[str, str]:
        found = status(profile, places, python, platform)
        return (found.condition.value, "" if found.why is None else str(found.why))

    assert told("cpu", "3.11", LINUX) == ("installable", "")
    condition, why = told("cpu", "3.12", LINUX)
    assert (condition, "3.12" in why, "3.11, 3.13" in why) == ("impossible", True, True)
    assert told("cpu", "3.11", WINDOWS)[0] == "impossible"
    condition, why = told("cuda", "3.11", MACOS)
    assert (condition, "macOS" in why) == ("impossible", True)
    assert "Linux with ARM" in told("cpu", "3.11", "linux-arm64")[1]
    monkeypatch.delenv("ESPALIER_ASSUME_GPU", raising=False)
    monkeypatch.setattr(platforms, "_DRIVER", {})
    if this_platform() in PROFILES["cuda"].platforms:
        assert "NVIDIA" in told("cuda")[1]
        monkeypatch.setenv("ESPALIER_ASSUME_GPU", "1")
        assert told("cuda") == ("installable", "")
        assert status("cuda", places).unlocked == ("cumesh",)
    with pytest.raises(EspalierError) as caught:
        status("gpu", places)
    assert caught.value.code == "environment_unknown"
    assert described("plan9-mips") == "plan9 with mips"


@pytest.mark.parametrize(
    ("file", "runs"),
    [
        ("a-1-py3-none-any.whl", {(p, s) for p in ("3.11", "3.13") for s in (LINUX, WINDOWS, MACOS)}),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", {("3.11", LINUX)}),
        ("a-1-cp39-abi3-win_amd64.whl", {("3.11", WINDOWS), ("3.13", WINDOWS)}),
        ("a-1-cp312-abi3-win_amd64.whl", {("3.13", WINDOWS)}),
        ("a-1-2-py2.py3-none-macosx_11_0_universal2.whl", {("3.11", MACOS), ("3.13", MACOS)}),
        ("a-1-cp313-cp313t-linux_x86_64.whl", set()),
        ("a-1-py2-none-any.whl", set()),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", set()),
        ("a-1-cp311-cp311-manylinux_2_17_aarch64.whl", set()),
    ],
)
def test_the_name_of_a_wheel_tells_where_it_runs(file: str, runs: set[tuple[str, str]]) -> None:
    wheel = parse_wheel(file)
    assert wheel is not None
    found = {(p, s) for p in ("3.11", "3.13") for s in (LINUX, WINDOWS, MACOS) if wheel.runs(p, s)}
    assert found == runs


def test_names_and_versions() -> None:
    assert normalized("Foo.Bar__baz") == "foo-bar-baz"
    assert parse_wheel("a-1.tar.gz") is None
    assert parse_wheel("a-1-any.whl") is None
    versions = ["1.0rc1", "1.0", "1.0+cu126", "1.0+cu128", "1.0.post1", "1.2", "1.10", "2.0.dev1", "2.0"]
    assert sorted(versions, key=version_key) == versions
    assert [size_words(size) for size in (0, 999, 1000, 193_931_481, 2_500_000_000)] == [
        *("0 bytes", "999 bytes", "1 kB", "194 MB", "2.5 GB"),
    ]


def test_status_is_asked_while_a_window_is_drawn(tmp_path: Path) -> None:
    write_lock(tmp_path, "cpu", [json.loads(json.dumps({**PACKAGE, "name": f"p{n}"})) for n in range(200)])
    found = status("cpu", Places(tmp_path / "root", (tmp_path,), tmp_path))
    assert (found.condition, found.download_bytes) == (Condition.INSTALLABLE, 1000)
    assert not (tmp_path / "root").exists()
