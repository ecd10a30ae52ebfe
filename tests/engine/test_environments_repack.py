# SPDX-License-Identifier: GPL-3.0-or-later
"""A package that is published as source alone becomes a wheel by copying: the same bytes each time, nothing run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.environments.connection import Connection
from engine.environments.gather import gather
from engine.environments.lock import Lock, Package
from engine.environments.places import Places
from engine.environments.repack import repack, wheel_name
from engine.environments.sources import Sources
from engine.errors import EspalierError
from tests.support.index_server import Fault, IndexServer, Offer

FILES = {
    "LICENSE": "Do as you like.\n",
    "setup.py": "raise SystemExit('this must never run')\n",
    "app.py": "print('not part of the package')\n",
    "leafy_mesh/__init__.py": "VALUE = 7\n",
    "leafy_mesh/deep/__init__.py": "",
    "leafy_mesh/deep/table.txt": "1 2 3\n",
}
NAME = wheel_name("leafy-mesh", "0+abc")


def archive(path: Path, top: str = "Leafy-abc", *, compress: bool = False, files: dict[str, str] = FILES) -> Path:
    """Write a zip as the hosts of repositories do, everything below one folder."""
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(f"{top}/", "")
        for name in sorted(files, reverse=compress):
            file.writestr(f"{top}/{name}", files[name])
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    """Return a host that has the repository's zip."""
    offer = Offer()
    offer.add("leafy-mesh", archive(tmp_path / "abc.zip", compress=True))
    with IndexServer(offer) as index:
        import threading

        threading.Thread(target=index.serve_forever, daemon=True).start()
        yield index
        index.shutdown()


def lock(server: IndexServer, digest: str | None, size: int | None) -> Lock:
    """Return a lock of the one package."""
    source = f"{server.base}/files/leafy-mesh/abc.zip"
    package = Package("leafy-mesh", "0+abc", source, NAME if digest else None, digest, size)
    return Lock("cuda", "3.11", "linux-x64", (package,))


def connection() -> Connection:
    """Return a connection that knows no index."""
    return Connection(Sources.from_environment(index_url="http://127.0.0.1:9/simple"), lambda: None)


def test_the_wheel_depends_on_the_files_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one.whl", tmp_path / "two.whl"
    repack(archive(tmp_path / "a.zip"), one, "leafy-mesh", "0+abc")
    repack(archive(tmp_path / "b.zip", "other-top", compress=True), two, "leafy-mesh", "0+abc")
    assert one.read_bytes() == two.read_bytes()
    changed = archive(tmp_path / "c.zip", files={**FILES, "leafy_mesh/deep/table.txt": "1 2 4\n"})
    repack(changed, two, "leafy-mesh", "0+abc")
    assert one.read_bytes() != two.read_bytes()


def test_an_installer_takes_it_and_nothing_of_it_runs(tmp_path: Path) -> None:
    wheel = tmp_path / NAME
    repack(archive(tmp_path / "a.zip"), wheel, "leafy-mesh", "0+abc")
    target = tmp_path / "site packages"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", target, wheel]
    subprocess.run(command, check=True)
    assert {path.name for path in target.iterdir()} == {"leafy_mesh", "leafy_mesh-0+abc.dist-info"}
    assert (target / "leafy_mesh" / "deep" / "table.txt").read_text("utf-8") == "1 2 3\n"
    assert (target / "leafy_mesh-0+abc.dist-info" / "licenses" / "LICENSE").exists()


def test_what_holds_no_such_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no package"):
        repack(archive(tmp_path / "a.zip"), tmp_path / NAME, "other", "0")
    (tmp_path / "page.zip").write_text("<html>", "utf-8")
    with pytest.raises(ValueError, match="not a zip"):
        repack(tmp_path / "page.zip", tmp_path / NAME, "leafy-mesh", "0")


def test_it_is_fetched_from_its_own_source_and_checked(server: IndexServer, tmp_path: Path) -> None:
    wanted = tmp_path / NAME
    repack(tmp_path / "abc.zip", wanted, "leafy-mesh", "0+abc")
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    places = Places(tmp_path / "root")
    server.faults.append(Fault("abc.zip", "cut", at=0.4))
    (wheel,) = gather(lock(server, digest, wanted.stat().st_size), places, connection(), lambda *_: None)
    assert wheel.path.read_bytes() == wanted.read_bytes()
    assert [path.name for path in wheel.path.parent.iterdir()] == [NAME]
    before = len(server.asked)
    gather(lock(server, digest, wanted.stat().st_size), places, connection(), lambda *_: None)
    assert len(server.asked) == before


def test_other_files_than_the_locked_ones_are_refused(server: IndexServer, tmp_path: Path) -> None:
    places = Places(tmp_path / "root")
    with pytest.raises(EspalierError) as caught:
        gather(lock(server, "0" * 64, 5), places, connection(), lambda *_: None)
    assert caught.value.code == "environment_wrong_file"
    assert not list(tmp_path.glob("root/**/*.whl"))
