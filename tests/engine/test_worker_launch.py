# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python of this process is found wherever it is, and workers find the modules that this process finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import EspalierError
from engine.workers import launch
from engine.workers.launch import MODULES, Launch, current_launch, find_python
from tests.engine.queue_harness import ROOT


def make_python(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_this_python_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESPALIER_PYTHON", raising=False)
    assert find_python() == sys.executable


def test_what_the_person_chose_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = make_python(tmp_path / "my python")
    monkeypatch.setenv("ESPALIER_PYTHON", str(chosen))
    assert find_python() == str(chosen)
    monkeypatch.setenv("ESPALIER_PYTHON", str(tmp_path / "nothing"))
    with pytest.raises(EspalierError) as caught:
        find_python()
    assert caught.value.code == "python_missing"


@pytest.mark.skipif(os.name == "nt", reason="makes executables with a shebang")
@pytest.mark.parametrize("place", ["bin/python{major}.{minor}", "bin/python3", "bin/python", "python"])
def test_a_program_that_embeds_python_has_it_below_its_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.delenv("ESPALIER_PYTHON", raising=False)
    version = sys.version_info
    expected = make_python(tmp_path / "4.5" / "python" / place.format(major=version.major, minor=version.minor))
    blender = make_python(tmp_path / "blender")
    monkeypatch.setattr(sys, "executable", str(blender))
    for name in ("prefix", "exec_prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, str(tmp_path / "4.5" / "python"))
    assert find_python() == str(expected)
    expected.unlink()
    with pytest.raises(EspalierError) as caught:
        find_python()
    assert caught.value.code == "python_missing"


def test_modules_come_from_where_this_process_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels of the extension"
    (wheels / "pyamg").mkdir(parents=True)
    (wheels / "pyamg" / "__init__.py").write_text("raise ImportError('is not to be imported')")
    monkeypatch.setattr(sys, "path", [str(wheels), *sys.path])
    monkeypatch.delitem(sys.modules, "pyamg", raising=False)
    current_launch.cache_clear()
    found = current_launch(ROOT)
    current_launch.cache_clear()
    assert found.paths[0] == str(ROOT)
    assert str(wheels) in found.paths
    assert len(set(found.paths)) == len(found.paths)


def test_a_child_imports_what_this_process_imports(tmp_path: Path) -> None:
    """With the very command of a worker, but for what it runs in the end."""
    script = launch.BOOTSTRAP.replace("from engine.workers.main import main\nmain()", "").strip()
    script += (
        f"\nfound = {{}}\nfor name in {MODULES!r} + ('engine',):"
        "\n    spec = importlib.util.find_spec(name)\n    found[name] = spec and spec.origin"
        "\nprint(json.dumps([found, sys.flags.isolated, sys.pycache_prefix]))"
    )
    command = current_launch(ROOT).command("draft", tmp_path / "cache")
    command[command.index(launch.BOOTSTRAP)] = "import importlib.util\n" + script
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    found, isolated, prefix = json.loads(out)
    for name in MODULES:
        spec = launch.importlib.util.find_spec(name)
        assert found[name] == (spec and spec.origin)
    assert found["engine"] == str(ROOT / "engine" / "__init__.py")
    assert isolated
    assert prefix == str(tmp_path / "cache")


def test_the_environment_keeps_what_a_person_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    environment = Launch("python", ("a",), {"KEY": "value"}).environment(threads=2)
    assert environment["OMP_NUM_THREADS"] == "7"
    assert environment["OPENBLAS_NUM_THREADS"] == "2"
    assert environment["KEY"] == "value"
    assert environment["PATH"] == os.environ["PATH"]


def test_libraries_of_engines_are_told_to_keep_to_themselves() -> None:
    variables = launch.Launch("python", ("folder",), {"A": "b"}).environment(1)
    assert variables["ORT_DISABLE_TELEMETRY"] == variables["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert variables["A"] == "b"
