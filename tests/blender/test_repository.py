# SPDX-License-Identifier: GPL-3.0-or-later
"""The self-hosted repository in Blender: added by its address, synced, installed from, and upgraded from later on."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.support import extension
from tests.support.repository_client import LIMIT_USD

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
CURRENT = re.search(r'(?m)^version = "(.+)"$', (extension.ROOT / "blender_manifest.toml").read_text("utf-8"))[1]
OLDER = "0.0.9"


class Repository(http.server.ThreadingHTTPServer):
    """Serves a folder on loopback and remembers what was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """The address that a person enters."""
        return f"http://127.0.0.1:{self.server_address[1]}/index.json"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Writes no log, but the list of what was asked for."""

    server: Repository

    def log_message(self, *arguments: object) -> None:
        """Remember instead of writing."""
        self.server.asked.append(self.path.partition("?")[0])


def write(root: Path, folder: Path) -> list[dict[str, Any]]:
    """Run the tree's `make repository` for this platform and return what its index lists."""
    command = [
        sys.executable,
        root / "wheels" / "repository.py",
        folder,
        "--platform",
        "this",
        "--tool",
        sys.executable,
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads((folder / "index.json").read_text("utf-8"))["data"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a repository of the older version and one of this version."""
    base = tmp_path_factory.mktemp("repository")
    older = base / "tree"
    ignored = shutil.ignore_patterns(".*", "dist", "out", "tests", "__pycache__", "*.whl")
    shutil.copytree(extension.ROOT, older, ignore=ignored)
    write(extension.ROOT, base / "new")
    for wheel in (extension.ROOT / "wheels").glob("*.whl"):
        os.link(wheel, older / "wheels" / wheel.name)
    for path, old, new in (
        (older / "blender_manifest.toml", f'version = "{CURRENT}"', f'version = "{OLDER}"'),
        (older / "engine" / "__init__.py", f'"{CURRENT}"', f'"{OLDER}"'),
    ):
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")
    write(older, base / "old")
    shutil.rmtree(older)
    return base / "old", base / "new"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Repository]:
    """Return a server of the folder `repository`, which a test fills."""
    folder = tmp_path / "repository"
    folder.mkdir()
    with Repository(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def client(user: Path, *acts: object) -> list[dict[str, Any]]:
    """Run a Blender on the user folder `user` and return what it saw of each act."""
    command = [sys.executable, "-m", "tests.support.repository_client", user, *acts]
    environment = {**os.environ, "TMPDIR": str(user.parent)}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=extension.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_the_index_tells_the_zips_of_the_pythons_apart(folders: tuple[Path, Path]) -> None:
    listing = json.loads((folders[1] / "index.json").read_text("utf-8"))["data"]
    pythons = {item["archive_url"].rpartition("-py")[2]: item["python_versions"] for item in listing}
    assert pythons == {"311.zip": ["3.11"], "313.zip": ["3.13"]}
    assert {item["version"] for item in listing} == {CURRENT}


def test_it_installs_and_upgrades_with_jobs_and_settings_kept(
    folders: tuple[Path, Path], served: Repository, tmp_path: Path
) -> None:
    root, user = tmp_path / "repository", tmp_path / "user"
    shutil.copytree(folders[0], root, dirs_exist_ok=True)
    image = extension.ROOT / "tests" / "data" / "ball.png"

    if bpy.app.version < (4, 5):  # as a module it crashes on reading preferences: all in one process there
        first, second = client(user, "install", served.url, image, "publish", folders[1], root, "upgrade")
        third = None
    else:
        (first,) = client(user, "install", served.url, image)
        (second,) = client(user, "publish", folders[1], root, "restarted", "upgrade")
        (third,) = client(user, "restarted", "upgrade")

    assert first["finished"]
    assert second["finished"]
    assert first["after"]["version"] == OLDER
    assert first["after"]["limit"] == LIMIT_USD
    assert [state for _, state in first["after"]["jobs"]] == ["IMPORTED"]
    assert second["before"] == first["after"]
    assert second["after"] == {**first["after"], "version": CURRENT}
    assert third is None or third["before"] == third["after"] == second["after"]
    chosen = [path.rpartition("/espalier-")[2] for path in served.asked if path.endswith(".zip")]
    tag = f"py{VERSION.replace('.', '')}"
    assert [(name.partition("-")[0], name.rpartition("-")[2]) for name in chosen] == [
        (OLDER, f"{tag}.zip"),
        (CURRENT, f"{tag}.zip"),
    ]
