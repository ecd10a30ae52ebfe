# SPDX-License-Identifier: GPL-3.0-or-later
"""How the environments of this project are filled from their locks: by uv, else by pip, and with nothing but the lock.

The registry is one on loopback, which pip is told of as a person would tell it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.test_locks import WHEELS, Registry, uv, wheel
from tests.support.index_server import IndexServer, Offer, serving

pytestmark = pytest.mark.once
assert uv, "a fixture that is used by its name"
FILL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import environments, registry
if sys.argv[2] != "uv":
    registry.uv = lambda: Path(sys.argv[2]) if sys.argv[2] else None
environments._install(Path(sys.argv[3]), Path(sys.argv[4]), [])
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexServer]:
    """Serve a package."""
    offer = Offer()
    offer.add("tools", wheel(tmp_path_factory.mktemp("wheels"), "tools", "1.5"))
    with serving(offer) as index:
        index.RequestHandlerClass = Registry
        yield index


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of an environment with nothing in it but pip."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    return tmp_path / "env" / "bin" / "python"


def lock(folder: Path, index: IndexServer, spoil: str = "") -> Path:
    """Write the lock of what `index` has."""
    ((_, data),) = index.offer.files["tools"].items()
    path = folder / "lock.txt"
    path.write_text(f"tools==1.5 \\\n    --hash=sha256:{hashlib.sha256(data + spoil.encode()).hexdigest()}\n", "utf-8")
    return path


def fill(index: IndexServer, program: Path | str, python: Path, lock: Path) -> subprocess.CompletedProcess[str]:
    """Fill the environment of `python` from `lock` by uv, or by a `program` in its place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    variables = {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url, "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", FILL, WHEELS, program, python, lock]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def imports(python: Path) -> bool:
    return subprocess.run([python, "-c", "import tools"], check=False, capture_output=True).returncode == 0


@pytest.mark.usefixtures("uv")
def test_uv_fills_an_environment_from_the_persons_mirror(index: IndexServer, python: Path, tmp_path: Path) -> None:
    done = fill(index, "uv", python, lock(tmp_path, index))
    assert (done.returncode, done.stderr) == (0, "")
    assert imports(python)
    assert list(tmp_path.rglob("tools/__pycache__/*.pyc")), "its modules are compiled once and for all"


@pytest.mark.parametrize("there", [True, False])
def test_pip_does_it_where_uv_is_missing_or_fails(
    index: IndexServer, python: Path, tmp_path: Path, there: bool
) -> None:
    broken = tmp_path / "uv"
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 1\n", "utf-8")
    broken.chmod(0o755)
    done = fill(index, broken if there else "", python, lock(tmp_path, index))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ("Going on with pip, as uv could not install lock.txt: broken\n" if there else "")
    assert imports(python)


@pytest.mark.usefixtures("uv")
def test_what_is_not_what_the_lock_names_is_not_installed(index: IndexServer, python: Path, tmp_path: Path) -> None:
    done = fill(index, "uv", python, lock(tmp_path, index, spoil="other"))
    assert done.returncode == 1
    assert "lock.txt could not be installed. Check the network, then try again." in done.stderr
    assert not imports(python)
