# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever upstream's sources for inference name in a package that we stand in for is in the stand-in."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.backends.trellis2.kernels import NAMES, installed
from tests.trellis2.conftest import FOLDER

LOCKS = Path(__file__).resolve().parents[2] / "engine" / "environments" / "locks"
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow"}
"""Module -> the package that has it, where that is called otherwise."""
PARTS = ("models", "modules", "pipelines", "representations")


def named(source: str) -> Iterator[str]:
    """Yield the dotted names in the packages of `NAMES` that a module imports or reaches through what it imports."""
    tree = ast.parse(source)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in NAMES:
                    yield alias.name
                    known[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in NAMES and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, _, rest = ast.unparse(node).partition(".")
            if root in known:
                yield f"{known[root]}.{rest}"


def found(name: str) -> bool:
    """Tell whether `name` can be imported, or is an attribute of what can be."""
    for count in range(name.count(".") + 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join(name.split(".")[:count]))
        except ImportError:
            continue
        for part in name.split(".")[count:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


def test_every_name_is_there(upstream: Any) -> None:
    names = {
        name
        for part in PARTS
        for path in sorted((Path(FOLDER) / "trellis2" / part).rglob("*.py"))
        for name in named(path.read_text("utf-8"))
    }
    assert {"flex_gemm.ops.spconv.sparse_submanifold_conv3d", "cumesh.CuMesh"} < names
    assert [name for name in sorted(names) if not found(name)] == []


def test_every_call_on_a_mesh_is_there(upstream: Any) -> None:
    from engine.backends.trellis2.kernels.cumesh import CuMesh

    source = (Path(FOLDER) / "trellis2" / "representations" / "mesh" / "base.py").read_text("utf-8")
    (fill,) = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.name == "fill_holes"
    ]
    calls = {
        node.attr
        for node in ast.walk(fill)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mesh"
    }
    assert {"init", "read", "num_boundaries"} < calls
    assert [name for name in sorted(calls) if not hasattr(CuMesh, name)] == []


def test_the_dual_grid_takes_what_the_real_one_takes(upstream: Any) -> None:
    source = Path(FOLDER) / "o-voxel" / "o_voxel" / "convert" / "flexible_dual_grid.py"
    (real,) = [
        node
        for node in ast.parse(source.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "flexible_dual_grid_to_mesh"
    ]
    ours = inspect.signature(importlib.import_module("o_voxel.convert").flexible_dual_grid_to_mesh)
    assert [argument.arg for argument in real.args.args] == list(ours.parameters)
    assert [ast.literal_eval(value) for value in real.args.defaults] == [
        parameter.default for parameter in ours.parameters.values() if parameter.default is not parameter.empty
    ]


def imported(source: str) -> set[str]:
    """Return the first names of what a module imports as it is imported itself."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def test_what_generating_imports_is_locked(pipeline: Any) -> None:
    importlib.import_module("trellis2.representations")
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "trellis2"}
    files = [Path(module.__file__) for module in loaded.values() if getattr(module, "__file__", None)]
    names = {name for path in files for name in imported(path.read_text("utf-8"))}
    assert {"torch", "flex_gemm", "transformers"} <= names
    outside = names - set(sys.stdlib_module_names) - set(NAMES) - {"trellis2"}
    for path in sorted(LOCKS.glob("cuda-*.json")):
        locked = {one["name"] for one in json.loads(path.read_text("utf-8"))["packages"]}
        assert {DISTRIBUTIONS.get(name, name) for name in outside} <= locked, path.name
    # Only what draws and trains asks for it, and it is in no lock.
    assert "utils3d" not in sys.modules
    assert not any("renderers." in name or "render_utils" in name for name in loaded)


def test_the_convolutions_have_the_algorithm_of_the_leanest_plan(upstream: Any) -> None:
    from engine.backends.trellis2.lean import _CONFIG, ALGORITHM

    config = importlib.import_module(_CONFIG)
    assert config.FLEX_GEMM_ALGO != ALGORITHM
    source = Path(config.__file__).read_text("utf-8")
    (line,) = [line for line in source.splitlines() if line.startswith("FLEX_GEMM_ALGO")]
    assert f"'{ALGORITHM}'" in line.partition("#")[2], "upstream lists it among those that there are"


def test_the_kernels_are_what_runs(upstream: Any) -> None:
    assert "flex_gemm" in installed()
