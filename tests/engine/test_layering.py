# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing imports upward, and each thing lies in its room. The tables below are the architecture as data."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]

PLAIN = {
    *(
        "engine.addresses",
        "engine.batch_errors",
        "engine.environment_errors",
        "engine.errors",
        "engine.files",
        "engine.locking",
        "engine.offer",
    ),
    *("engine.input_errors", "engine.parameters", "engine.progress", "engine.provenance", "engine.remote_errors"),
    *("engine.request", "engine.server_errors", "engine.trellis2_errors", "engine.weights_errors", "engine.words"),
}
"""Modules that import nothing but the standard library and each other: they load everywhere at once."""
CHILD = {
    *("engine", "engine.workers", "engine.request", "engine.errors", "engine.files"),
    *("engine.progress", "engine.provenance", "engine.backends", "engine.mesh", "engine.imaging"),
}
"""What the worker process may import besides what its parent's side may."""
ROOMS = {
    "engine": set(),
    "engine.parameters": set(),
    "engine.addresses": set(),
    "engine.errors": {
        "engine.batch_errors",
        *("engine.environment_errors", "engine.remote_errors", "engine.server_errors", "engine.trellis2_errors"),
        *("engine.input_errors", "engine.weights_errors"),
    },
    "engine.batch": PLAIN,
    "engine.batch_errors": set(),
    "engine.environment_errors": set(),
    "engine.input_errors": set(),
    "engine.remote_errors": set(),
    "engine.server_errors": set(),
    "engine.trellis2_errors": set(),
    "engine.weights_errors": set(),
    "engine.files": {"engine.errors"},
    "engine.locking": set(),
    "engine.network": set(),
    "engine.offer": {"engine.parameters"},
    "engine.progress": set(),
    "engine.words": set(),
    "engine.provenance": {"engine.parameters", "engine.request"},
    "engine.request": {"engine.parameters", "engine.errors"},
    "engine.mesh": {"engine.errors", "engine.files", "engine.progress"},
    "engine.imaging": {"engine.errors", "engine.files"},
    "engine.backends": {"engine", *PLAIN, "engine.network", "engine.mesh", "engine.imaging"},
    "engine.workers": {"engine", "engine.request", "engine.errors", "engine.files"},
    "engine.workers.main": CHILD,
    "engine.workers.execute": CHILD,
    "engine.workers.handover": CHILD,
    "engine.jobs": {*PLAIN, "engine.workers"},
    "engine.environments": {"engine", *PLAIN, "engine.network", "engine.workers"},
    "engine.server": {"engine", *PLAIN, "engine.backends", "engine.imaging", "engine.jobs", "engine.workers"},
    "operators": {"engine"},
    "operators.scene": {
        *("engine.errors", "engine.files", "engine.mesh", "engine.jobs.job", "engine.provenance"),
        *("engine.request", "operators.languages"),
    },
    "panels": {"operators", "engine.parameters", "engine.errors", "engine.jobs.job", "engine.provenance"},
    "": {"operators", "panels"},
}
"""Room -> what it may import besides itself and what is not ours; the longest name that fits a module is its room.

A room in the set stands for everything below it, but `engine` alone, except for `operators`, is only its `__init__`.
"""

BLENDER = {"bpy", "bmesh", "mathutils", "gpu", "blf", "addon_utils", "bl_operators", "bpy_extras", "_bpy"}
PACKAGES = ("engine", "operators", "panels")
TOP = {
    *("README.md", "LICENSE", "pyproject.toml", "Makefile", "blender_manifest.toml", "__init__.py"),
    *("engine", "operators", "panels", "tests", "wheels"),
}
MADE = {"dist", "out", "__pycache__"}
LINES = 400


def sources() -> list[Path]:
    """Return the files of the extension itself."""
    return [ROOT / "__init__.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]


def written() -> Iterator[Path]:
    """Yield every file that a person wrote, without asking git, which need not be there."""
    for top in sorted(ROOT.iterdir()):
        if top.name in TOP or top.name in {".ci", ".gitignore"}:
            files = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
            for path in files:
                if "__pycache__" not in path.parts and path.suffix != ".whl":
                    yield path


def module_name(path: Path) -> str:
    """Return the dotted name of a file below the repository's root; the add-on's own top module is ''."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the room that holds `module`."""
    parts = module.split(".") if module else []
    while ".".join(parts) not in ROOMS:
        parts.pop()
    return ".".join(parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each imported module's full dotted name, and whether it is ours (imported relatively)."""
    name = module_name(path)
    package = name.split(".") if name else []
    if path.name != "__init__.py":
        package = package[:-1]
    modules = {module_name(other) for other in sources()}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or "", False
        elif isinstance(node, ast.ImportFrom):
            assert node.level - 1 <= len(package), f"{path} leaves the extension"
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                deeper = ".".join([*base, alias.name])
                yield (deeper if deeper in modules else ".".join(base)), True


def is_allowed(module: str, target: str) -> bool:
    """Tell whether `module` may import `target`, both of ours."""
    room = room_of(module)
    if room and room != "engine" and (target == room or target.startswith(f"{room}.")):
        return True
    for allowed in ROOMS[room]:
        if target == allowed:
            return True
        if target.startswith(f"{allowed}.") and (allowed != "engine" or room == "operators"):
            return True
    return False


@pytest.mark.parametrize("path", sources(), ids=lambda path: module_name(path) or "espalier")
def test_no_upward_imports(path: Path) -> None:
    module = module_name(path)
    for target, ours in imports(path):
        top = target.partition(".")[0]
        if ours:
            assert is_allowed(module, target), f"{module} may not import {target}"
            continue
        assert top not in PACKAGES, f"{module} imports {target}; use a relative import"
        assert top not in {"tests", "wheels"}, f"{module} imports {target}"
        if module.startswith("engine"):
            assert top not in BLENDER, f"{module} imports {target}"
        if module in {*PLAIN, "engine.jobs.job"}:
            assert top not in {"numpy", "scipy", "PIL", "pyamg", "requests"}, f"{module} imports {target}"


def test_the_rules_refuse_what_they_should() -> None:
    for module, target in (
        ("engine.errors", "engine.request"),
        ("engine.mesh.weld", "engine.backends.draft"),
        ("engine.imaging.read", "engine.mesh.glb"),
        ("engine.jobs.queue", "engine.backends.draft"),
        ("engine.jobs.queue", "operators"),
        ("engine.workers.process", "engine.backends.base"),
        ("operators.generate", "panels"),
        ("operators.scene.importer", "engine.jobs.queue"),
        ("operators.scene.importer", "operators.session"),
        ("panels.main", "engine.jobs.queue"),
        ("", "engine.request"),
    ):
        assert not is_allowed(module, target), (module, target)
    for module, target in (
        ("engine.jobs.queue", "engine.workers.process"),
        ("engine.workers.main", "engine.backends.base"),
        ("operators.session", "engine.jobs.queue"),
        ("operators.generate", "operators.scene.importer"),
        ("operators.scene.importer", "operators.scene.material"),
        ("", "panels"),
    ):
        assert is_allowed(module, target), (module, target)


def test_the_top_level_holds_only_what_belongs_there() -> None:
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert names - MADE <= TOP
    assert names >= TOP


@pytest.mark.parametrize("path", [p for p in written() if p.suffix == ".py"], ids=lambda p: str(p.relative_to(ROOT)))
def test_python_files_are_short_and_licensed(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= LINES
    assert lines, "an empty file says nothing; give a package a docstring"
    assert "# SPDX-License-Identifier: GPL-3.0-or-later" in lines[:2]


def test_no_file_names_a_place_of_one_machine() -> None:
    outside = re.compile(r"(?<![\w.$}~-])/(?:root|work|home/\w+|Users/\w+|mnt|opt/(?!\*|homebrew))\b")
    for path in written():
        if path.suffix in {".py", ".md", ".toml", ".json", ".in", ".txt", ""} and path.name != "LICENSE":
            text = path.read_text("utf-8")
            if path != Path(__file__):
                assert not outside.search(text), f"{path}: {outside.search(text)}"
                assert ("../" + "shared") not in text or ".ci" in path.parts, path


def test_nothing_of_ours_runs_inside_temp_override():
    """Blender reads the override's dictionary without Python's lock, while our threads run: that crashed it."""
    sources = [path for package in ("operators", "panels") for path in (ROOT / package).rglob("*.py")]
    assert sources
    assert not [path for path in sources if ".temp_override(" in path.read_text("utf-8")]
