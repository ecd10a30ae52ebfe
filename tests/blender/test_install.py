# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip installs as Blender installs it, brings its own wheels, and leaves nothing behind when it is disabled."""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import bpy
import numpy
import pytest

from tests.support import extension

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def handlers() -> list[str]:
    """Return where each of Blender's application handlers comes from."""
    lists = [value for name in dir(bpy.app.handlers) if isinstance(value := getattr(bpy.app.handlers, name), list)]
    return sorted({function.__module__ for functions in lists for function in functions})


def classes() -> set[str]:
    """Return the names of all classes that the add-on has registered."""
    bases = (bpy.types.Operator, bpy.types.Panel, bpy.types.PropertyGroup, bpy.types.AddonPreferences)
    bases += (bpy.types.UIList, bpy.types.Menu, bpy.types.FileHandler)
    found = (cls for base in bases for cls in base.__subclasses__() if cls.__module__.startswith(extension.MODULE))
    return {cls.__name__ for cls in found if cls.is_registered}


def test_the_extension_is_enabled_from_the_zip(addon: ModuleType, user_resources: Path) -> None:
    assert addon.__name__ == extension.MODULE
    assert Path(addon.__file__).parent == user_resources / "extensions" / "user_default" / "espalier"
    assert classes()


def test_the_wheels_are_the_locked_ones_and_numpy_is_blenders(user_resources: Path) -> None:
    local = user_resources / "extensions" / ".local"
    lock = json.loads((extension.ROOT / "wheels" / "bundle.json").read_text("utf-8"))
    wanted = {tuple(item["file"].split("-")[:2]) for item in lock["linux-x64"][VERSION]}
    unpacked = {tuple(path.stem.split("-")[:2]) for path in local.glob("lib/python*/site-packages/*.dist-info")}
    assert {(name, version) for name, version in unpacked} == wanted
    for name, version in wanted:
        module = __import__({"libigl": "igl", "pillow": "PIL"}.get(name, name))
        assert Path(module.__file__).is_relative_to(local), name
        assert importlib.metadata.version(name) == version
    assert not Path(numpy.__file__).is_relative_to(local)


def test_what_environments_are_built_with_lies_in_the_zip_and_is_not_installed(user_resources: Path) -> None:
    carried = json.loads((extension.ROOT / "wheels" / "carried.json").read_text("utf-8"))["linux-x64"]
    installed = user_resources / "extensions" / "user_default" / "espalier" / "wheels"
    for item in carried:
        assert hashlib.sha256((installed / item["file"]).read_bytes()).hexdigest() == item["sha256"]
        assert not list((user_resources / "extensions" / ".local").rglob(f"{item['file'].split('-')[0]}-*.dist-info"))
    assert (installed / "NOTICES.md").is_file()


def test_the_bundled_solvers_work_with_this_numpy() -> None:
    import pyamg
    import scipy.sparse.linalg

    matrix = pyamg.gallery.poisson((40, 40), format="csr")
    right = numpy.ones(matrix.shape[0])
    direct = scipy.sparse.linalg.spsolve(matrix.tocsc(), right)
    multigrid = pyamg.ruge_stuben_solver(matrix).solve(right, tol=1e-10)
    numpy.testing.assert_allclose(multigrid, direct, rtol=1e-7)


def test_disabling_takes_everything_out_and_enabling_brings_it_back() -> None:
    before = classes()
    assert before
    for collects in (True, False, True):
        extension.disable()
        assert classes() == set()
        assert not [name for name in handlers() if name.startswith(extension.MODULE)]
        assert not [name for name in dir(bpy.ops.espalier) if not name.startswith("_")]
        (gc.enable if collects else gc.disable)()
        extension.enable()
        assert gc.isenabled() == collects
        assert classes() == before


def test_enabling_imports_no_wheel_and_starts_no_process() -> None:
    script = (
        "import sys; from pathlib import Path; from tests.support import extension; extension.use(Path(sys.argv[1]));"
        "import bpy; before = set(sys.modules); extension.enable(); new = set(sys.modules) - before;"
        "heavy = {'scipy', 'PIL', 'pyamg', 'sqlite3', 'asyncio', 'requests', 'multiprocessing', 'concurrent'};"
        "print(sorted(heavy & {name.partition('.')[0] for name in new}));"
        "print(Path(f'/proc/self/task/{__import__(\"os\").getpid()}/children').read_text().split())"
    )
    command = [sys.executable, "-c", script, os.environ["BLENDER_USER_RESOURCES"]]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=extension.ROOT)
    assert result.stdout.splitlines()[-2:] == ["[]", "[]"], result.stdout + result.stderr


def test_blenders_own_tool_accepts_the_zip(archive: Path) -> None:
    folder = Path(bpy.utils.system_resource("SCRIPTS")) / "addons_core" / "bl_pkg" / "cli"
    command = [sys.executable, folder / "blender_ext.py", "validate", archive]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("other", sorted({"3.11", "3.13"} - {VERSION}))
def test_blender_refuses_the_zip_of_another_python(other: str, archive: Path, tmp_path: Path) -> None:
    """The same zip with its wheels renamed for another CPython must be refused in words, not fail at import."""
    extension.install(tmp_path, archive)
    manifest = tmp_path / "extensions" / "user_default" / "espalier" / "blender_manifest.toml"
    tags = {version: f"cp{version.replace('.', '')}" for version in (VERSION, other)}
    manifest.write_text(manifest.read_text("utf-8").replace(tags[VERSION], tags[other]), "utf-8")
    script = (
        "import sys; from pathlib import Path; from tests.support import extension;"
        "extension.use(Path(sys.argv[1])); extension.enable()"
    )
    command = [sys.executable, "-c", script, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=extension.ROOT)
    assert result.returncode != 0
    assert f"This Python version ({VERSION}) isn't compatible with ({other})" in result.stderr
