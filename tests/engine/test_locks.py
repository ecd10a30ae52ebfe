# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks of the environments: complete, from the right sources, the same each time, honest about what is missing.

The default registry here is a decoy on loopback that writes down what it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.support.index_server import Fault, IndexServer, Offer, _Handler, serving
from tests.support.tiny_wheels import EXPLICIT, pack

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / "wheels"
LOCKS = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "engine/environments/locks").glob("*.json")}
PLATFORMS = {"cpu": ("linux-x64", "macos-arm64", "windows-x64"), "cuda": ("linux-x64", "windows-x64")}
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
MARKS = {"linux-x64": "linux", "macos-arm64": "macosx", "windows-x64": "win_amd64"}
LOCKING = """
import dataclasses, json, sys
sys.path.insert(0, sys.argv[1])
import explicit, profiles
order = json.loads(sys.argv[2])
sources = [explicit.Source(**item) for item in order.pop("sources")]
lock, _ = profiles.make("cuda", platform="linux-x64", sources=sources, **order)
print(json.dumps(lock))
"""


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_a_lock_lists_every_package_once_with_its_file(name: str) -> None:
    lock = LOCKS[name]
    assert name == f"{lock['profile']}-{lock['python']}-{lock['platform']}"
    assert [item["name"] for item in lock["packages"]] == sorted({item["name"] for item in lock["packages"]})
    for item in lock["packages"]:
        assert item["name"] == canonicalize_name(item["name"])
        assert item["source"] == "registry" or item["source"].startswith("https://")
        if item["sha256"] is None:
            assert item["source"] != "registry"
            assert item["file"] is item["size"] is None
            assert item["why"].endswith(".")
            continue
        assert re.fullmatch("[0-9a-f]{64}", item["sha256"])
        assert item["size"] > 0
        package, version, _, tags = parse_wheel_filename(item["file"])
        assert (package, str(version)) == (item["name"], item["version"])
        assert any(tag.platform == "any" or MARKS[lock["platform"]] in tag.platform for tag in tags)
        minor = int(lock["python"][2:])
        assert any(
            tag.interpreter in ("py3", f"cp3{minor}") or (tag.abi == "abi3" and int(tag.interpreter[3:]) <= minor)
            for tag in tags
        )


def test_there_is_a_lock_for_each_profile_python_and_platform() -> None:
    wanted = {
        f"{profile}-{version}-{platform}"
        for profile, platforms in PLATFORMS.items()
        for platform in platforms
        for version in ("3.11", "3.13")
    }
    assert set(LOCKS) == wanted


def test_what_strangers_can_claim_never_comes_from_the_registry() -> None:
    for name, lock in LOCKS.items():
        sources = {item["name"]: item["source"] for item in lock["packages"]}
        assert set(EXPLICIT) <= set(sources) or lock["profile"] == "cpu", name
        assert all(sources[package] != "registry" for package in EXPLICIT if package in sources), name
        if name.startswith("cuda") and "windows" in name:
            assert sources["torch"] != "registry"


def test_the_requirements_of_the_environments_are_met() -> None:
    for name, lock in LOCKS.items():
        versions = {item["name"]: item["version"] for item in lock["packages"]}
        for line in requirements(WHEELS / "requirements" / f"{lock['profile']}.in"):
            wanted = Requirement(line)
            if wanted.marker and "win32" in str(wanted.marker) and "windows" not in name:
                continue
            found = versions[canonicalize_name(wanted.name)]
            assert wanted.specifier.contains(found.partition("+")[0], prereleases=True), (name, line)


def requirements(path: Path) -> Iterator[str]:
    """Yield the requirements of a file and of those that it includes."""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("-r "):
            yield from requirements(path.parent / line[3:])
        elif line and not line.startswith("#"):
            yield line


def test_the_notices_name_what_is_locked_and_nothing_else() -> None:
    text = (WHEELS / "NOTICES.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| ([a-z0-9-]+) \| (\S+) \| (.+) \| (https?://\S+) \| (.+) \|$", text)
    found = {(name, version): set(where.split(", ")) for name, version, _, _, where in rows}
    wanted: dict[tuple[str, str], set[str]] = {}
    for lock in LOCKS.values():
        for item in lock["packages"]:
            wanted.setdefault((item["name"], item["version"]), set()).add(lock["profile"])
    bundle = json.loads((WHEELS / "bundle.json").read_text("utf-8"))
    carried = json.loads((WHEELS / "carried.json").read_text("utf-8"))
    items = [item for versions in bundle.values() for listed in versions.values() for item in listed]
    for item in items + [item for listed in carried.values() for item in listed]:
        name, version, *_ = parse_wheel_filename(item["file"])
        wanted.setdefault((name, str(version)), set()).add("zip")
    assert found == wanted
    assert len(rows) == len(found)
    assert all(words.strip() for _, _, words, _, _ in rows)
    assert "research or evaluation" in next(words for name, _, words, *_ in rows if name == "nvdiffrast")


def wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = (), tag: str = "py3-none-any") -> Path:
    """Write a wheel that asks for other packages and return its path."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {item}\n" for item in requires)
    files = {
        f"{module}/__init__.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    return pack(folder / f"{module}-{version}-{tag}.whl", files, f"{info}/RECORD")


class Registry(_Handler):
    """Answers HEAD, too, as registries do and uv asks."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, status: int, body: bytes, kind: str = "text/plain", fault: Fault | None = None) -> None:
        if self.command != "HEAD":
            super().answer(status, body, kind, fault)
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()


class Indexes:
    """A default registry that offers more than it should, and the extensions' own index."""

    def __init__(self, registry: IndexServer, own: IndexServer) -> None:
        self.registry, self.own = registry, own

    def lock(self, before: dict[str, Any], **changes: str) -> dict[str, Any]:
        """Run the locking of a small profile and return what it wrote."""
        sources = [
            {"name": name, "version": "0.0.1+cu128", "url": f"{self.own.url}{name}/"} for name in ("cumesh", "o-voxel")
        ]
        order = {"version": VERSION, "requirements": ["tools"], "sources": sources, "before": before}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        environment = {**kept, "PIP_INDEX_URL": self.registry.url, "NO_PROXY": "127.0.0.1", **changes}
        command = [sys.executable, "-c", LOCKING, str(WHEELS), json.dumps(order)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


FETCHING = """
import sys
sys.path.insert(0, sys.argv[1])
import fetch, targets
fetch.carried(targets.this_platform())
"""


@pytest.fixture(scope="module")
def uv() -> None:
    """Have uv's wheel here before an index is in pip's place that has nothing of it."""
    subprocess.run([sys.executable, "-c", FETCHING, str(WHEELS)], check=True, cwd=ROOT)


@pytest.fixture
def indexes(tmp_path: Path, uv: None) -> Iterator[Indexes]:
    """Serve both; each of the extensions exists on both, on the registry in a much higher version."""
    decoy, own = Offer(), Offer()
    decoy.add("tools", wheel(tmp_path, "tools", "1.5", ("cumesh", "helper>=1", 'other; sys_platform == "win32"')))
    decoy.add("helper", wheel(tmp_path, "helper", "1.1", ("o_voxel>=99",)), wheel(tmp_path, "helper", "1.0"))
    tag = f"cp{VERSION.replace('.', '')}"
    for name in EXPLICIT:
        decoy.add(name, wheel(tmp_path / "decoy", name, "99.0"))
        for system in ("manylinux_2_34_x86_64.manylinux_2_35_x86_64", "win_amd64"):
            for release in ("0.0.1+cu128", "0.0.2+cu130"):
                own.add(name, wheel(tmp_path / "own", name, release, tag=f"{tag}-{tag}-{system}"))
    with serving(decoy) as registry, serving(own) as extensions:
        registry.RequestHandlerClass = Registry
        yield Indexes(registry, extensions)


def test_the_registry_never_hears_the_names_of_the_extensions(indexes: Indexes) -> None:
    lock = indexes.lock({})
    files = {item["name"]: item["file"] for item in lock["packages"]}
    tag = f"cp{VERSION.replace('.', '')}"
    system = "manylinux_2_34_x86_64.manylinux_2_35_x86_64"
    assert files == {
        "cumesh": f"cumesh-0.0.1+cu128-{tag}-{tag}-{system}.whl",
        "helper": "helper-1.1-py3-none-any.whl",
        "o-voxel": f"o_voxel-0.0.1+cu128-{tag}-{tag}-{system}.whl",
        "tools": "tools-1.5-py3-none-any.whl",
    }
    assert indexes.registry.asked
    assert not [path for path in indexes.registry.asked for name in EXPLICIT if name in path.replace("_", "-")]
    assert not indexes.own.asked_for("tools")


def test_a_lock_is_the_same_each_time_and_stays_while_its_versions_suffice(indexes: Indexes, tmp_path: Path) -> None:
    first = indexes.lock({})
    assert indexes.lock(first) == indexes.lock({}) == first
    indexes.registry.offer.add("helper", wheel(tmp_path, "helper", "1.2"))
    assert indexes.lock(first) == first
    assert indexes.lock({}) != first


def test_what_is_out_of_reach_stays_as_it_was_or_says_why(indexes: Indexes) -> None:
    first = indexes.lock({})
    indexes.own.offer.files.clear()
    assert indexes.lock(first) == first
    anew = indexes.lock({})
    missing = {item["name"]: item for item in anew["packages"] if item["sha256"] is None}
    assert set(missing) == {"cumesh", "o-voxel"}
    for item in missing.values():
        assert item["file"] is item["size"] is None
        assert item["why"] == "The index host could not be reached when this lock was made."
        assert item["source"] == f"{indexes.own.url}{item['name']}/"


def test_further_indexes_that_pip_knows_are_not_asked(indexes: Indexes, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    wheel(tmp_path / "links", "tools", "7.0")
    lock = indexes.lock({}, PIP_FIND_LINKS=str(tmp_path / "links"), PIP_EXTRA_INDEX_URL=indexes.own.url)
    assert next(item["version"] for item in lock["packages"] if item["name"] == "tools") == "1.5"
    assert not indexes.own.asked_for("tools")


def test_a_bundle_refuses_what_is_not_yet_locked_with_the_reason(tmp_path: Path) -> None:
    command = [sys.executable, WHEELS / "bundle.py", "cuda", "windows-x64", "--output", tmp_path]
    missing = [item for item in LOCKS["cuda-3.11-windows-x64"]["packages"] if item["sha256"] is None]
    if not missing:
        pytest.skip("everything is locked, so nothing is refused")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert not list(tmp_path.iterdir())
    assert result.stdout == ""
    for item in missing:
        assert f"{item['name']} {item['version']}: {item['why']}" in result.stderr
    assert "Run make lock on a machine that reaches these hosts" in result.stderr


def test_a_bundle_carries_the_wheels_beside_those_of_blender(indexes: Indexes, tmp_path: Path) -> None:
    lock = indexes.lock({})
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import build, bundle, explicit;"
        "lock, folder = json.loads(sys.argv[2]), Path(sys.argv[3]); files = [];"
        "own = [item for item in lock['packages'] if item['source'] != 'registry'];"
        "[explicit.download(item, lock['python'], lock['platform'], folder / item['file']) for item in own];"
        "print(build.build(sys.argv[4], lock['python'], folder / 'dist', sorted(folder.glob('*.whl')), '-cuda'))"
    )
    (tmp_path / "bundle").mkdir()
    platform = next(iter(json.loads((WHEELS / "bundle.json").read_text("utf-8"))))
    arguments = [str(WHEELS), json.dumps(lock), str(tmp_path / "bundle"), platform]
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    archive = Path(run.stdout.strip())
    assert archive.name.endswith(f"-py{VERSION.replace('.', '')}-cuda.zip")
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        names = set(file.namelist())
        listed = tomllib.loads(file.read("blender_manifest.toml").decode())["wheels"]
        for item in lock["packages"]:
            if item["source"] != "registry":
                assert hashlib.sha256(file.read(f"wheels/{item['file']}")).hexdigest() == item["sha256"]
                assert f"./wheels/{item['file']}" not in listed
    assert {name.removeprefix("./") for name in listed} < names


def test_a_bundle_takes_no_other_file_than_the_locked_one(indexes: Indexes, tmp_path: Path) -> None:
    item = next(item for item in indexes.lock({})["packages"] if item["name"] == "cumesh")
    files = indexes.own.offer.files["cumesh"]
    files[item["file"]] += b"more"
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import explicit;"
        f"explicit.download(json.loads(sys.argv[2]), {VERSION!r}, 'linux-x64', Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", script, str(WHEELS), json.dumps(item), str(tmp_path / item["file"])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "does not have the file that the lock names" in result.stderr
    assert not (tmp_path / item["file"]).exists()
