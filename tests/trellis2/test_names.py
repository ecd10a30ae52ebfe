# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever upstream's sources for inference name in a package that we stand in for is in the stand-in."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.backends.trellis2.kernels import NAMES, installed
from tests.trellis2.conftest import FOLDER

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


def test_the_kernels_are_what_runs(upstream: Any) -> None:
    assert "flex_gemm" in installed()
